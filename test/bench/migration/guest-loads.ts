/** What guests do while they are measured: bash scripts that go on in the background. */

/** Rewrites 1 MB of memory ten times a second and appends to a file twenty times a second. */
export const WRITER = `
mkdir -p /bench && cd /bench
(while :; do date +%s.%N >> log; sleep 0.05; done) < /dev/null > /dev/null 2>&1 &
(exec python3 -c '
import time
block, turn = bytearray(1 << 20), 0
while True:
    turn += 1
    for at in range(0, len(block), 4096): block[at] = turn & 255
    time.sleep(0.1)
') < /dev/null > /dev/null 2>&1 &
`;

/** Gives how many rounds of its work a guest does in so many seconds, counted by itself. */
export function countRounds(work: string, seconds: number): string {
  return `
mkdir -p /bench && cd /bench
${PREPARE}
round() { ${work}; }
round; round
rounds=0; end=$(($(date +%s%N) + ${seconds} * 1000000000)); begin=$(date +%s%N)
while [ $(date +%s%N) -lt $end ]; do round; rounds=$((rounds + 1)); done
now=$(date +%s%N)
echo "$rounds $((now - begin))"
`;
}

const PREPARE = `
if [ ! -e unit.c ]; then
  for n in $(seq 60); do echo "int f$n(int x) { int s = 0; for (int i = 0; i < x; i++) s += i * $n ^ (s >> 3); return s; }"; done > unit.c
fi
`;

/** Work to count rounds of, by what it is like. */
export const WORK = {
  'idle-ish': 'sleep 0.02; true',
  'compile loop': 'gcc -O1 -c unit.c -o unit.o',
  'memory writer':
    "head -c 8000000 /dev/zero | tr '\\0' x > /dev/shm/bench; cat /dev/shm/bench > /dev/null",
  'disk writer': 'dd if=/dev/zero of=file bs=256k count=16 conv=fsync status=none',
} as const;

/**
 * Fills memory with what cannot be compressed and is not the template's, compiles once, and then goes on
 * rewriting a hot part of it: `hotMib` in about a second and a half, pause included.
 */
export function fillMemory({
  fillMib,
  hotMib,
}: {
  readonly fillMib: number;
  readonly hotMib: number;
}) {
  return `
mkdir -p /bench && cd /bench
${PREPARE}
gcc -O1 -c unit.c -o unit.o
mount -o remount,size=95% /dev/shm
dd if=/dev/urandom of=/dev/shm/fill bs=1M count=${fillMib} status=none
(while :; do dd if=/dev/urandom of=/dev/shm/fill bs=1M count=${hotMib} conv=notrunc status=none; sleep 1; done) < /dev/null > /dev/null 2>&1 &
awk '/MemTotal|MemFree/ { print $2 }' /proc/meminfo
`;
}
