/** `send-datagrams.ts TEXT ADDRESS…`: sends TEXT to port 8080 of each, three times. */
import { createSocket } from 'node:dgram';

const REPEATS = 3;
const [text = '', ...addresses] = process.argv.slice(2);
const socket = createSocket('udp4');
for (let n = 0; n < REPEATS; n += 1) {
  for (const address of addresses) {
    await new Promise<void>((resolve) => socket.send(text, 8080, address, () => resolve()));
  }
}
socket.close();
