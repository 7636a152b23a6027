/**
 * A server on every address of its namespace: says hello to who connects to port 8080 or 53, and
 * keeps what datagrams bring to port 8080, since a packet that is only answered in vain has arrived
 * all the same. Port 8081 tells what they brought, one line each.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

const MAX_ARRIVED = 1000;
const arrived: string[] = [];

async function serve(port: number, answer: () => string): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(answer());
  });
  server.listen(port, '0.0.0.0');
  await once(server, 'listening');
}

const datagrams = createSocket('udp4');
datagrams.on('message', (message) => {
  if (arrived.length < MAX_ARRIVED) arrived.push(message.toString('utf8'));
});
datagrams.bind(8080, '0.0.0.0');
await once(datagrams, 'listening');
await serve(8080, () => 'hello\n');
await serve(53, () => 'hello\n');
await serve(8081, () => `${arrived.join('\n')}\n`);
process.stdout.write('ready\n');
