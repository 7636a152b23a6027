/** The export over a real socket; QEMU's own client is in the integration tests. */
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ArchitectError } from '../../protocol/errors.ts';
import { CLUSTER_BYTES } from './cluster.ts';
import { DiskImageError, NbdProtocolError } from './disk-errors.ts';
import { DiskImage } from './disk-image.ts';
import { COMMAND, OPTION_MAGIC, REQUEST_MAGIC } from './nbd-format.ts';
import { NbdServer } from './nbd-server.ts';

const CLUSTERS = 8;
const GREETING_BYTES = 18;
/** Two kinds of information and an acknowledgement. */
const GO_REPLY_BYTES = 32 + 34 + 20;
const REPLY_BYTES = 16;

let dir: string;
let image: DiskImage;
let server: NbdServer;
let ends: (ArchitectError | undefined)[];
const sockets = new Set<Socket>();

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'nbd-server-'));
  image = await DiskImage.create({
    path: join(dir, 'disk'),
    sizeBytes: CLUSTERS * CLUSTER_BYTES,
  });
  ends = [];
  const onConnectionEnd = (why: ArchitectError | undefined) => void ends.push(why);
  server = await NbdServer.listen({ socketPath: join(dir, 'export'), image, onConnectionEnd });
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await server.close();
  await image.close();
  await rm(dir, { recursive: true, force: true });
});

const received = new WeakMap<Socket, Buffer>();

async function open(): Promise<Socket> {
  const socket = connect(server.socketPath);
  sockets.add(socket);
  socket.on('error', () => undefined);
  socket.on('data', (piece: Buffer) =>
    received.set(socket, Buffer.concat([received.get(socket) ?? Buffer.alloc(0), piece])),
  );
  await once(socket, 'connect');
  return socket;
}

async function take(socket: Socket, length: number): Promise<Buffer> {
  const count = () => received.get(socket)?.length ?? 0;
  await expect.poll(count, { interval: 1 }).toBeGreaterThanOrEqual(length);
  const bytes = received.get(socket) ?? Buffer.alloc(0);
  received.set(socket, bytes.subarray(length));
  return bytes.subarray(0, length);
}

/** A client that has been let in. */
async function enter(): Promise<Socket> {
  const socket = await open();
  const go = Buffer.alloc(28);
  go.writeUInt32BE(3, 0);
  go.writeBigUInt64BE(OPTION_MAGIC, 4);
  go.writeUInt32BE(7, 12);
  go.writeUInt32BE(6, 16);
  go.writeUInt32BE(0, 20);
  socket.write(go.subarray(0, 26));
  await take(socket, GREETING_BYTES + GO_REPLY_BYTES);
  return socket;
}

interface Ask {
  readonly command: number;
  readonly cluster?: number;
  readonly offset?: bigint;
  readonly length: number;
  readonly payload?: Buffer;
}

/** The error number of the reply, and what is behind it. */
async function ask(socket: Socket, { cluster = 0, payload, ...request }: Ask) {
  const head = Buffer.alloc(28);
  head.writeUInt32BE(REQUEST_MAGIC, 0);
  head.writeUInt16BE(request.command, 6);
  head.writeBigUInt64BE(request.offset ?? BigInt(cluster * CLUSTER_BYTES), 16);
  head.writeUInt32BE(request.length, 24);
  socket.write(Buffer.concat([head, payload ?? Buffer.alloc(0)]));
  const error = (await take(socket, REPLY_BYTES)).readUInt32BE(4);
  const isRead = request.command === COMMAND.read && error === 0;
  return { error, content: isRead ? await take(socket, request.length) : undefined };
}

async function untilEnds(count: number): Promise<void> {
  await expect.poll(() => ends.length).toBe(count);
}

test('what a client writes, zeroes and trims is in the image, and it can read it', async () => {
  const socket = await enter();
  const payload = Buffer.alloc(3 * CLUSTER_BYTES, 5);
  const length = payload.length;
  expect(await ask(socket, { command: COMMAND.write, cluster: 1, length, payload })).toEqual({
    error: 0,
    content: undefined,
  });
  await ask(socket, { command: COMMAND.zero, cluster: 2, length: CLUSTER_BYTES });
  await ask(socket, { command: COMMAND.trim, cluster: 7, length: CLUSTER_BYTES });
  expect((await ask(socket, { command: COMMAND.flush, length: 0 })).error).toBe(0);
  const states = Array.from({ length: CLUSTERS }, (_, cluster) => image.stateOf(cluster));
  expect(states.join(' ')).toBe('base own zero own base base base zero');
  payload.fill(0, CLUSTER_BYTES, 2 * CLUSTER_BYTES);
  const { content } = await ask(socket, { command: COMMAND.read, cluster: 1, length });
  expect(content).toEqual(payload);
});

test.each<[string, Ask]>([
  ['half a cluster', { command: COMMAND.zero, length: 512 }],
  ['a cluster that begins in another', { command: COMMAND.zero, offset: 512n, length: 65_536 }],
  ['clusters beyond the end', { command: COMMAND.zero, cluster: 7, length: 2 * CLUSTER_BYTES }],
  ['an offset beyond all', { command: COMMAND.zero, offset: 2n ** 64n - 65_536n, length: 65_536 }],
  ['nothing', { command: COMMAND.zero, length: 0 }],
  ["what is the template's", { command: COMMAND.read, length: CLUSTER_BYTES }],
  ['a cache hint', { command: 5, length: CLUSTER_BYTES }],
  ['the state of blocks', { command: 7, length: CLUSTER_BYTES }],
])('%s is refused, and the connection goes on', async (_what, request) => {
  const socket = await enter();
  expect((await ask(socket, request)).error).toBe(22);
  expect((await ask(socket, { command: COMMAND.flush, length: 0 })).error).toBe(0);
});

test('a client that speaks something else is cut off, and the next one is served', async () => {
  const socket = await open();
  socket.write('GET / HTTP/1.1\r\n\r\n');
  await untilEnds(1);
  expect(ends[0]).toBeInstanceOf(NbdProtocolError);
  expect((await ask(await enter(), { command: COMMAND.flush, length: 0 })).error).toBe(0);
});

test('a client that goes in the middle of a write changes nothing', async () => {
  const socket = await enter();
  const head = Buffer.alloc(28);
  head.writeUInt32BE(REQUEST_MAGIC, 0);
  head.writeUInt16BE(COMMAND.write, 6);
  head.writeUInt32BE(CLUSTER_BYTES, 24);
  socket.end(Buffer.concat([head, Buffer.alloc(CLUSTER_BYTES - 1, 1)]));
  await untilEnds(1);
  expect(ends[0]).toBeInstanceOf(NbdProtocolError);
  expect(image.stateOf(0)).toBe('base');
});

test('the newest client counts', async () => {
  const first = await enter();
  const second = await enter();
  await expect.poll(() => first.destroyed).toBe(true);
  expect((await ask(second, { command: COMMAND.flush, length: 0 })).error).toBe(0);
});

test('an image that broke is told to the client and to the caller', async () => {
  const socket = await enter();
  await image.close();
  const payload = Buffer.alloc(CLUSTER_BYTES, 1);
  const { error } = await ask(socket, { command: COMMAND.write, length: CLUSTER_BYTES, payload });
  expect(error).toBe(5);
  await untilEnds(1);
  expect(ends[0]).toBeInstanceOf(DiskImageError);
});

test("the socket is its owner's, and goes with the server", async () => {
  expect((await stat(server.socketPath)).mode & 0o777).toBe(0o600);
  const socket = await enter();
  await server.close();
  await expect.poll(() => socket.destroyed).toBe(true);
  await expect(stat(server.socketPath)).rejects.toThrow('ENOENT');
});
