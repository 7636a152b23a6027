/**
 * A server outside the fleet, as the demo's job sees it: answers `ping N` with `pong N`, line by
 * line, on one TCP connection. `node app/demo/peer.ts HOST PORT` prints one line when it listens.
 */
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

const IDLE_LIMIT_MS = 60_000;
const MAX_CONNECTIONS = 64;

const [host, port] = process.argv.slice(2);

const server = createServer((socket) => {
  socket.setTimeout(IDLE_LIMIT_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  const lines = createInterface({ input: socket });
  lines.on('error', () => socket.destroy());
  lines.on('line', (line) => socket.write(`${line.replace('ping', 'pong')}\n`));
});
server.maxConnections = MAX_CONNECTIONS;
server.listen({ host, port: Number(port) }, () => {
  process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
});
