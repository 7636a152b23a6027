/**
 * Connections that a gateway's end must not end.
 *
 *   standby-talk.ts serve ADDRESS   echoes TCP (7000) and UDP (7001); on 7002 it is silent until a line
 *                                   `push`, writes a byte to every connection and prints how many
 *   standby-talk.ts guest ADDRESS   CHATTY connections that send a number every 20 ms, SILENT ones that
 *                                   say nothing, a datagram every millisecond. A line `mark` begins the
 *                                   count of the longest silence anew, `pushed` prints how many silent
 *                                   connections have heard something, `stop` what became of the rest
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

export const CHATTY = 100;
export const SILENT = 20;
const PORTS = { chatty: 7000, datagrams: 7001, silent: 7002 };
const LAST_ECHO_MS = 20_000;

const [mode, address = ''] = process.argv.slice(2);
const print = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
if (mode === 'serve') await serve();
if (mode === 'guest') await talk();

async function serve(): Promise<void> {
  const udp = createSocket('udp4');
  udp.on('message', (message, from) => udp.send(message, from.port, from.address));
  udp.bind(PORTS.datagrams, address);
  const silent: Socket[] = [];
  const echo = createServer((socket) => socket.on('error', () => undefined).pipe(socket));
  const quiet = createServer((socket) => {
    socket.on('error', () => undefined);
    silent.push(socket);
  });
  echo.listen(PORTS.chatty, address);
  quiet.listen(PORTS.silent, address);
  await Promise.all([udp, echo, quiet].map((one) => once(one, 'listening')));
  print('ready');
  for await (const _ of createInterface({ input: process.stdin }))
    print(silent.map((socket) => socket.write('!')).length);
}

async function talk(): Promise<void> {
  const broken: string[] = [];
  const open = (port: number) => {
    const socket = connect(port, address);
    socket.on('error', (error) => broken.push(error.message));
    socket.on('end', () => broken.push('it was closed'));
    return socket;
  };
  const chatty = Array.from({ length: CHATTY }, () => ({
    socket: open(PORTS.chatty),
    sent: 0,
    back: 0,
  }));
  for (const one of chatty) {
    one.socket.on('data', ({ length }) => {
      one.back += length;
    });
  }
  const heard = new Set<Socket>();
  const silent = Array.from({ length: SILENT }, () => open(PORTS.silent));
  for (const socket of silent) socket.on('data', () => heard.add(socket));
  const sockets = [...chatty.map(({ socket }) => socket), ...silent];
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  const udp = createSocket('udp4');
  udp.connect(PORTS.datagrams, address);
  await once(udp, 'connect');
  let lastMs = performance.now();
  let silenceMs = 0;
  udp.on('error', () => undefined);
  udp.on('message', () => {
    const nowMs = performance.now();
    silenceMs = Math.max(silenceMs, nowMs - lastMs);
    lastMs = nowMs;
  });
  const datagrams = setInterval(() => udp.send('?'), 1);
  const numbers = setInterval(() => {
    for (const one of chatty) {
      one.socket.write('0123');
      one.sent += 4;
    }
  }, 20);
  print('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'mark') silenceMs = 0;
    if (line === 'stop') {
      clearInterval(numbers);
      const isAllBack = () => chatty.every(({ sent, back }) => sent === back);
      for (let ms = 0; ms < LAST_ECHO_MS && !isAllBack(); ms += 20) await delay(20);
      clearInterval(datagrams);
      silenceMs = Math.max(silenceMs, performance.now() - lastMs);
      const unanswered = chatty.filter(({ sent, back }) => sent !== back).length;
      print({ broken, unanswered, silenceMs: Math.round(silenceMs) });
    } else print(heard.size);
  }
}
