/**
 * A guest that clears what its template and its disk's base hold, and where on the machine that is:
 * its own word on it, and what is to be seen from outside.
 *
 *   /mem/zeros   zeros, on pages of which many held something in the template
 *   /mem/mixed   a page of chance, a page of zeros, in turn
 *   /mem/late    chance first, zeros once that has come to rest
 *   two files of the base: one overwritten with zeros, one deleted and its blocks discarded
 */
import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';

const PAGE_BYTES = 4096;
const CLUSTER_BYTES = 64 * 1024;
const CLUSTER_PAGES = CLUSTER_BYTES / PAGE_BYTES;
/** Of q35 (QEMU's hw/i386/pc_q35.c): what memory beyond that has is mapped from 4 GiB on. */
const LOW_BYTES = 2 * 1024 ** 3;
const HIGH_FROM = 4 * 1024 ** 3;

/** Prints the runs of guest pages in which a file is held, in the file's order. */
const WHERE_C = `
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int count, char **names) {
  struct stat s;
  int file = open(names[1], O_RDONLY), map = open("/proc/self/pagemap", O_RDONLY);
  if (file < 0 || map < 0 || fstat(file, &s)) return 1;
  volatile char *at = mmap(0, s.st_size, PROT_READ, MAP_SHARED, file, 0);
  uint64_t first = 0, run = 0;
  for (off_t page = 0; page < s.st_size / 4096; page++) {
    uint64_t entry;
    (void)at[page * 4096];
    if (pread(map, &entry, 8, ((uintptr_t)at / 4096 + page) * 8) != 8) return 1;
    entry &= (1ull << 55) - 1;
    if (run && entry == first + run) { run++; continue; }
    if (run) printf("%llu %llu\\n", (unsigned long long)first, (unsigned long long)run);
    first = entry, run = 1;
  }
  printf("%llu %llu\\n", (unsigned long long)first, (unsigned long long)run);
}
`;

/** Gives lines: `disk FIRST COUNT` in 4 KiB blocks of the disk, for what was cleared there. */
export const CLEAR = `
set -e
cd /root; cat > where.c <<'END'
${WHERE_C}
END
gcc -o where where.c
set -- $(find / -xdev -type f -size +512k ! -perm /111 ! -name '*.so*' ! -path '/root/*' ! -path '/var/*' | head -n 2)
sync
for file in $1 $2; do
  filefrag -v -b4096 $file | awk '$1 ~ /^[0-9]+:$/ { print "disk", $4 + 0, $6 + 0 }'
done
dd if=/dev/zero of=$1 bs=4k count=$(($(stat -c %s $1) / 4096)) conv=notrunc,fsync status=none
rm $2; sync; fstrim /
mkdir -p /mem; mount -t tmpfs -o size=512m none /mem
echo 3 > /proc/sys/vm/drop_caches
python3 -c '
import os
with open("/mem/mixed", "wb") as file:
    for _ in range(1024): file.write(os.urandom(4096) + bytes(4096))
'
dd if=/dev/zero of=/mem/zeros bs=1M count=192 status=none
dd if=/dev/urandom of=/mem/late bs=1M count=8 status=none`;

export const CLEAR_LATE = 'dd if=/dev/zero of=/mem/late bs=1M count=8 conv=notrunc status=none';

export interface Run {
  readonly first: number;
  readonly count: number;
}

/** What of it is whole clusters of the disk. */
export function clearedClusters(output: string): readonly Run[] {
  return [...output.matchAll(/^disk (\d+) (\d+)$/gm)].flatMap(([, block, blocks]) => {
    const first = Math.ceil(Number(block) / CLUSTER_PAGES);
    const end = Math.floor((Number(block) + Number(blocks)) / CLUSTER_PAGES);
    return end > first ? [{ first, count: end - first }] : [];
  });
}

export const FILES = ['/mem/zeros', '/mem/mixed', '/mem/late'] as const;

/** The guest hashes its files, and clusters read from the disk itself. */
export function hashScript(clusters: readonly Run[]): string {
  const reads = clusters.map(
    ({ first, count }) =>
      `dd if=/dev/vda iflag=direct bs=64k skip=${first} count=${count} status=none | sha256sum`,
  );
  return ['set -e', ...FILES.map((file) => `sha256sum < ${file}`), ...reads].join('\n');
}

/** Which pages of the machine hold the file, in its order. */
export async function pagesOf(
  run: (script: string) => Promise<string>,
  file: string,
): Promise<readonly number[]> {
  const output = await run(`/root/where ${file}`);
  return [...output.matchAll(/^(\d+) (\d+)$/gm)].flatMap(([, first, count]) =>
    Array.from({ length: Number(count) }, (_, at) => Number(first) + at),
  );
}

/** Where a page of the guest is in its memory. */
export function offsetOf(page: number): number {
  const address = page * PAGE_BYTES;
  return address < HIGH_FROM ? address : address - HIGH_FROM + LOW_BYTES;
}

/** The VM's memory, read from outside while its QEMU runs. */
export class OutsideMemory {
  readonly #mem: Awaited<ReturnType<typeof open>>;
  readonly #start: number;

  private constructor(mem: Awaited<ReturnType<typeof open>>, start: number) {
    this.#mem = mem;
    this.#start = start;
  }

  /** `path`: of the template's memory, which QEMU maps. */
  static async open(pid: number | null, path: string): Promise<OutsideMemory> {
    const maps = await readFile(`/proc/${pid}/maps`, 'utf8');
    const line = maps.split('\n').find((each) => each.endsWith(path));
    const start = Number.parseInt(line ?? '', 16);
    return new OutsideMemory(await open(`/proc/${pid}/mem`, 'r'), start);
  }

  async hash(pages: readonly number[]): Promise<string> {
    const hash = createHash('sha256');
    const content = Buffer.alloc(PAGE_BYTES);
    for (const page of pages) {
      await this.#mem.read(content, 0, PAGE_BYTES, this.#start + offsetOf(page));
      hash.update(content);
    }
    return `${hash.digest('hex')}  -`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mem.close();
  }
}
