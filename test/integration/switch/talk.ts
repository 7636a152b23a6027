/**
 * Both ends of the traffic that a move must not disturb.
 *
 *   talk.ts serve ADDRESS   echoes TCP on port 7000 and UDP on 7001; a line `said` on standard input
 *                           prints the words that came by UDP as `say …`
 *   talk.ts guest ADDRESS [TCP UDP]   sends a number every millisecond both ways and checks what comes back;
 *                           a line `stop` prints what became of them, `say WORD` sends WORD by UDP
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, isIPv6 } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

const TCP_PORT = 7000;
const UDP_PORT = 7001;
const NUMBER_BYTES = 4;
const LAST_ECHO_MS = 2_000;
/** More would not fit into a socket's buffer while a busy machine keeps its owner waiting. */
const MAX_ON_THEIR_WAY = 100;

const [mode, address = '', tcpPort = TCP_PORT, udpPort = UDP_PORT] = process.argv.slice(2);
const print = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
if (mode === 'serve') await serve();
else await talk();

async function serve(): Promise<void> {
  const said: string[] = [];
  const udp = createSocket(udpOf(address));
  udp.on('message', (message, from) => {
    if (message.length === NUMBER_BYTES) udp.send(message, from.port, from.address);
    else said.push(message.toString('utf8'));
  });
  udp.bind(UDP_PORT, address);
  const tcp = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  tcp.listen(TCP_PORT, address);
  await Promise.all([once(udp, 'listening'), once(tcp, 'listening')]);
  print('ready');
  for await (const _ of createInterface({ input: process.stdin })) print(said);
}

async function talk(): Promise<void> {
  const udp = createSocket(udpOf(address));
  udp.connect(Number(udpPort), address);
  const tcp = connect(Number(tcpPort), address);
  await Promise.all([once(udp, 'connect'), once(tcp, 'connect')]);
  const counts = { sent: 0, echoed: 0, written: 0, returned: 0, broken: '' };
  udp.on('message', () => {
    counts.echoed += 1;
  });
  tcp.on('error', (error) => {
    counts.broken = error.message;
  });
  readNumbers(tcp, (number) => {
    if (number === counts.returned) counts.returned += 1;
    else counts.broken ||= `${number} came where ${counts.returned} was due`;
  });
  const timer = setInterval(() => {
    tcp.write(numberBytes(counts.written));
    counts.written += 1;
    if (counts.sent - counts.echoed >= MAX_ON_THEIR_WAY) return;
    udp.send(numberBytes(counts.sent));
    counts.sent += 1;
  }, 1);
  print('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.startsWith('say ')) {
      udp.send(line);
      print('said');
    } else {
      clearInterval(timer);
      const allBack = () => counts.echoed === counts.sent && counts.returned === counts.written;
      for (let ms = 0; ms < LAST_ECHO_MS && !allBack(); ms += 20) await delay(20);
      print(counts);
    }
  }
}

function udpOf(address: string): 'udp4' | 'udp6' {
  return isIPv6(address) ? 'udp6' : 'udp4';
}

function numberBytes(value: number): Buffer {
  const bytes = Buffer.alloc(NUMBER_BYTES);
  bytes.writeUInt32BE(value);
  return bytes;
}

function readNumbers(socket: ReturnType<typeof connect>, take: (value: number) => void): void {
  let left = Buffer.alloc(0);
  socket.on('data', (data) => {
    left = Buffer.concat([left, data]);
    for (; left.length >= NUMBER_BYTES; left = left.subarray(NUMBER_BYTES))
      take(left.readUInt32BE(0));
  });
}
