/**
 * `converse.ts ADDRESS PORT`: one TCP connection to an echo server, as fast as it goes, and 1,000
 * datagrams a second beside it, until standard input ends. Prints a line when the connection stands,
 * and at the end a line of JSON: bytes echoed, whether they are the same, datagrams without an answer.
 */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const [host = '', port = ''] = process.argv.slice(2);
const BLOCK_BYTES = 64 * 1024;
/** For the last datagrams to come back. */
const SETTLE_LIMIT_MS = 5_000;

let over = false;
process.stdin.resume().once('end', () => {
  over = true;
});

/** Bytes that repeat nowhere near, so that no shifted or doubled piece goes unseen. */
function blockOf(n: number): Buffer {
  const seed = createHash('sha256').update(String(n)).digest();
  return Buffer.alloc(BLOCK_BYTES, seed);
}

async function talkTcp() {
  const sent = createHash('sha256');
  const received = createHash('sha256');
  let bytes = 0;
  const socket = connect({ host, port: Number(port) });
  await once(socket, 'connect');
  console.log('connected');
  socket.on('data', (piece) => {
    received.update(piece);
    bytes += piece.length;
  });
  for (let n = 0; !over; n += 1) {
    const block = blockOf(n);
    sent.update(block);
    if (!socket.write(block)) await once(socket, 'drain');
  }
  socket.end();
  await once(socket, 'end');
  return { bytes, same: sent.digest('hex') === received.digest('hex') };
}

async function talkUdp() {
  const socket = createSocket('udp4');
  const missing = new Set<string>();
  socket.on('message', (message) => missing.delete(message.toString()));
  let n = 0;
  while (!over) {
    for (let burst = 0; burst < 2; burst += 1, n += 1) {
      missing.add(String(n));
      socket.send(String(n), Number(port), host);
    }
    await sleep(2);
  }
  const deadline = performance.now() + SETTLE_LIMIT_MS;
  while (missing.size > 0 && performance.now() < deadline) await sleep(20);
  socket.close();
  return { datagrams: n, lost: missing.size };
}

const [tcp, udp] = await Promise.all([talkTcp(), talkUdp()]);
console.log(JSON.stringify({ ...tcp, ...udp }));
