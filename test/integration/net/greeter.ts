/** A server on every address of its namespace, ports 8080 and 53: says hello to who connects. */
import { createServer } from 'node:net';

let listening = 0;
for (const port of [8080, 53]) {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end('hello\n');
  });
  server.listen(port, '0.0.0.0', () => {
    listening += 1;
    if (listening === 2) process.stdout.write('ready\n');
  });
}
