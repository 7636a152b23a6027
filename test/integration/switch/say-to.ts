/**
 * `say-to.ts FROM WORD ADDRESS…` sends `say WORD ADDRESS` to port 7001 of each, by IPv6, from the address
 * FROM (`::`: whichever fits), one after another.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const UDP_PORT = 7001;

const [from = '::', word = '', ...targets] = process.argv.slice(2);
const socket = createSocket('udp6');
socket.bind(0, from);
await once(socket, 'listening');
for (const target of targets) {
  await new Promise((sent) => socket.send(`say ${word} ${target}`, UDP_PORT, target, sent));
}
socket.close();
