/**
 * `ask.ts ADDRESS PORT BYTES`: one datagram from a connected socket to an echo server. Prints
 * `answered` when the same came back, `refused` when an ICMP error did, else `silent`.
 */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';

/** Longer than any answer takes here. */
const SILENCE_MS = 1_500;

const [host = '', port = '', bytes = ''] = process.argv.slice(2);
const question = randomBytes(Number(bytes));
const socket = createSocket('udp4');
const end = (outcome: string) => {
  clearTimeout(silence);
  socket.close();
  console.log(outcome);
};
const silence = setTimeout(() => end('silent'), SILENCE_MS);
socket.once('message', (answer) => end(answer.equals(question) ? 'answered' : 'another answer'));
socket.once('error', () => end('refused'));
socket.connect(Number(port), host, () => socket.send(question));
