/** A server outside the fleet at which a job waits until the test lets it go on. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';

const IDLE_LIMIT_MS = 5 * 60_000;

export interface Gate extends AsyncDisposable {
  /** Script lines for a job's step: knocks with the name, then waits. */
  script(name: string): string;
  /** Resolves with the names of jobs that have knocked, once there are `count`. */
  arrived(count?: number): Promise<readonly string[]>;
  /** Lets those that wait and those that come go on. */
  open(): void;
}

/** Keeps a word in its shell's memory, and asks at the gate again and again: each time anew. */
export function patientScript(gate: Gate, name: string): string {
  return `
word=$RANDOM-$RANDOM; echo "began $word"
for turn in $(seq 200); do
  if timeout 3 bash -c '${gate.script(name)}' 2>/dev/null; then echo "ended $word"; exit 0; fi
  sleep 1
done
exit 1`;
}

export async function openGate(host: string): Promise<Gate> {
  const names: string[] = [];
  const waiting = new Set<Socket>();
  const knocks = new EventTarget();
  let isOpen = false;
  const server = createServer((socket) => {
    socket.setTimeout(IDLE_LIMIT_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => waiting.delete(socket));
    socket.once('data', (name) => {
      names.push(name.toString('utf8').trim());
      if (isOpen) socket.write('go\n');
      else waiting.add(socket);
      knocks.dispatchEvent(new Event('knock'));
    });
  });
  server.listen({ host, port: 0 });
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the gate has no port');
  return {
    script: (name) =>
      `exec 3<>/dev/tcp/${host}/${address.port}; echo ${name} >&3; read -r word <&3; test "$word" = go`,
    arrived: async (count = 1) => {
      while (names.length < count) await once(knocks, 'knock');
      return names;
    },
    open: () => {
      isOpen = true;
      for (const socket of waiting) socket.write('go\n');
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of waiting) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
