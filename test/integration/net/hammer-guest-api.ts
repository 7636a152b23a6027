/**
 * Run in a guest's namespace: `hammer-guest-api.ts SEED CONNECTIONS` sends the guest API bytes that
 * begin like requests and go on at random, on that many connections, and waits until each has ended.
 */
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import {
  GUEST_API_ADDRESS,
  GUEST_API_PORT,
} from '../../../host-agent/protocol/guest-api-address.ts';

const AT_ONCE = 4;
const LIMIT_MS = 2_000;
const BEGINNINGS = [
  '',
  'GET /v1/vm HTTP/1.1\r\n',
  'PUT /v1/hold HTTP/1.1\r\nHost: a\r\nContent-Length: ',
  'PUT /v1/hold HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n',
  'GET /v1/vm HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n',
  'CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: a\r\n\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
];

const [seed = '', connections = '0'] = process.argv.slice(2);

function bytesOf(n: number): Buffer {
  const chance = createHash('sha512').update(`${seed} ${n}`).digest();
  const beginning = BEGINNINGS[(chance[0] ?? 0) % BEGINNINGS.length] ?? '';
  const tail = chance.subarray(1, 1 + ((chance[1] ?? 0) % 60));
  const repeated = (chance[2] ?? 0) > 200 ? 200 : 1;
  return Buffer.concat([Buffer.from(beginning), ...Array.from({ length: repeated }, () => tail)]);
}

function send(n: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(GUEST_API_PORT, GUEST_API_ADDRESS);
    socket.setTimeout(LIMIT_MS, () => socket.destroy());
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
    socket.resume();
    socket.end(bytesOf(n));
  });
}

async function sendEvery(first: number): Promise<void> {
  for (let n = first; n < Number(connections); n += AT_ONCE) await send(n);
}

await Promise.all(Array.from({ length: AT_ONCE }, (_, first) => sendEvery(first)));
