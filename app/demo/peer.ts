/**
 * A server outside the fleet, as the demo's job sees it: answers `ping N` with `pong N`, line by
 * line, on one TCP connection. `node app/demo/peer.ts HOST PORT` prints what it has seen
 * (peer-word.ts) when it listens and whenever that changes.
 */
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import type { PeerWord } from './peer-word.ts';

const IDLE_LIMIT_MS = 60_000;
const MAX_CONNECTIONS = 64;

const [host, port] = process.argv.slice(2);

const seen = { connections: 0, broken: 0, longestSilenceMs: 0 };
const print = () => void process.stdout.write(`${JSON.stringify(seen satisfies PeerWord)}\n`);

const server = createServer((socket) => {
  socket.setTimeout(IDLE_LIMIT_MS, () => socket.destroy());
  socket.on('error', () => {
    seen.broken += 1;
    print();
    socket.destroy();
  });
  seen.connections += 1;
  print();
  let heardAtMs: number | undefined;
  const lines = createInterface({ input: socket });
  lines.on('error', () => socket.destroy());
  lines.on('line', (line) => {
    const nowMs = performance.now();
    const silenceMs = Math.round(nowMs - (heardAtMs ?? nowMs));
    heardAtMs = nowMs;
    socket.write(`${line.replace('ping', 'pong')}\n`);
    if (silenceMs <= seen.longestSilenceMs) return;
    seen.longestSilenceMs = silenceMs;
    print();
  });
});
server.maxConnections = MAX_CONNECTIONS;
server.listen({ host, port: Number(port) }, print);
