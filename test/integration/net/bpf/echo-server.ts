/** `echo-server.ts PORT`: sends back what comes over TCP and UDP. Prints a line when it is ready. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

const port = Number(process.argv[2]);
const server = createServer((socket) => {
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});
const datagrams = createSocket('udp4');
datagrams.on('message', (message, from) => datagrams.send(message, from.port, from.address));
datagrams.bind(port);
server.listen(port);
await Promise.all([once(server, 'listening'), once(datagrams, 'listening')]);
console.log('ready');
