/**
 * `converse.ts ADDRESS PORT [FLOWS]`: TCP connections to an echo server and 1,000 datagrams a second
 * beside them, until standard input ends: one as fast as it goes, or FLOWS of them that say little, the
 * first nothing until the end. Prints a line when the connections stand, and at the end a line of JSON:
 * bytes echoed, whether they are the same, datagrams without an answer and when they were sent.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const [host = '', port = '', flows = '0'] = process.argv.slice(2);
const BLOCK_BYTES = 64 * 1024;
/** For the last datagrams to come back. */
const SETTLE_LIMIT_MS = 5_000;
/** 500 lines a second in all. */
const PAUSE_MS_PER_FLOW = 2;
/** What has become late is made up for, in pieces that a busy reader's buffer has room for; never beside a full connection. */
const MAX_BURST = flows === '0' ? 2 : 20;
const MAX_LOST_TOLD = 1_000;

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

/** Nothing passes over the first one while the others talk. */
async function talkOverMany(count: number) {
  const sockets = Array.from({ length: count }, () => connect({ host, port: Number(port) }));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  console.log('connected');
  const [idle, ...busy] = sockets.map((socket) => sayAndHear(socket));
  const pause = () => sleep(count * PAUSE_MS_PER_FLOW);
  const said = await Promise.all(
    busy.map(async (say) => {
      let same = true;
      for (let n = 0; !over; n += 1, await pause()) same = (await say(n)) && same;
      return same;
    }),
  );
  const heard = [...said, await idle?.(0)];
  for (const socket of sockets) socket.end();
  const bytes = sockets.reduce((sum, { bytesRead }) => sum + bytesRead, 0);
  return { bytes, same: heard.every((one) => one === true) };
}

/** Says one line over the connection; whether the same came back. */
function sayAndHear(socket: Socket) {
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  return async (n: number): Promise<boolean> => {
    const line = `${n} ${randomUUID()}`;
    socket.write(`${line}\n`);
    const { value } = await lines.next();
    return value === line;
  };
}

async function talkUdp() {
  const socket = createSocket('udp4');
  const missing = new Map<string, number>();
  socket.on('message', (message) => missing.delete(message.toString()));
  let n = 0;
  const beganMs = performance.now();
  while (!over) {
    const due = Math.min(performance.now() - beganMs, n + MAX_BURST);
    for (; n < due; n += 1) {
      missing.set(String(n), Date.now());
      socket.send(String(n), Number(port), host);
    }
    await sleep(2);
  }
  const deadline = performance.now() + SETTLE_LIMIT_MS;
  while (missing.size > 0 && performance.now() < deadline) await sleep(20);
  socket.close();
  const lostAtMs = [...missing.values()].slice(0, MAX_LOST_TOLD);
  return { datagrams: n, lost: missing.size, lostAtMs };
}

const [tcp, udp] = await Promise.all([
  flows === '0' ? talkTcp() : talkOverMany(Number(flows)),
  talkUdp(),
]);
console.log(JSON.stringify({ ...tcp, ...udp }));
