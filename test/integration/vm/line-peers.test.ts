/** The QMP and guest agent clients against peers that misbehave, over real unix sockets. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { openGuestChannel } from '../../../host-agent/vm/guest-agent/guest-channel.ts';
import { connectQmp } from '../../../host-agent/vm/qmp/qmp-client.ts';
import { GuestAgentError, QmpDisconnectedError } from '../../../host-agent/vm/vm-errors.ts';

const LIMIT_MS = 5_000;
const GREETING =
  '{"QMP": {"version": {"qemu": {"major": 10, "minor": 0, "micro": 2}, "package": ""}, "capabilities": []}}\n';

const Request = z.object({
  execute: z.string(),
  id: z.int().optional(),
  arguments: z.object({ id: z.int().optional() }).optional(),
});
type Request = z.infer<typeof Request>;

let dir: string;
let server: Server | undefined;
const sockets = new Set<Socket>();

beforeEach(async () => {
  dir = await mkdtemp('/tmp/architect-line-');
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  server?.close();
  await rm(dir, { recursive: true, force: true });
});

async function listen(
  greeting: string,
  answer: (request: Request, socket: Socket) => void,
): Promise<string> {
  const path = join(dir, 'peer.sock');
  const listening = Promise.withResolvers<void>();
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.write(greeting);
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1').replaceAll('\u00ff', '');
      for (const line of text.split('\n').filter(Boolean)) {
        answer(Request.parse(JSON.parse(line)), socket);
      }
    });
  }).listen(path, () => listening.resolve());
  await listening.promise;
  return path;
}

function reply(socket: Socket, value: object): void {
  socket.write(`${JSON.stringify(value)}\n`);
}

test('an event that comes before the answer reaches a listener that was there first', async () => {
  const path = await listen(GREETING, ({ execute, id }, socket) => {
    if (execute === 'cont') reply(socket, { event: 'RESUME', timestamp: {} });
    reply(socket, { return: {}, id });
  });
  const qmp = await connectQmp(path, AbortSignal.timeout(LIMIT_MS));
  const seen: string[] = [];
  qmp.onEvent(({ name }) => seen.push(name));
  await qmp.run('cont');
  expect(seen).toEqual(['RESUME']);
  qmp.close();
});

test('a peer that vanishes fails every pending QMP call', async () => {
  const path = await listen(GREETING, ({ execute, id }, socket) => {
    if (execute === 'stop') socket.destroy();
    else if (execute === 'qmp_capabilities') reply(socket, { return: {}, id });
  });
  const qmp = await connectQmp(path, AbortSignal.timeout(LIMIT_MS));
  const calls = [qmp.run('query-status'), qmp.run('stop')];
  for (const result of await Promise.allSettled(calls)) {
    expect(result.status === 'rejected' && result.reason).toBeInstanceOf(QmpDisconnectedError);
  }
});

test('nonsense from QEMU ends the connection, saying so', async () => {
  const path = await listen(GREETING, ({ execute, id }, socket) => {
    if (execute === 'qmp_capabilities') reply(socket, { return: {}, id });
    else socket.write('not JSON\n');
  });
  const qmp = await connectQmp(path, AbortSignal.timeout(LIMIT_MS));
  await expect(qmp.run('stop')).rejects.toThrow(QmpDisconnectedError);
  expect(await qmp.closed).toContain('no JSON');
});

test('stale answers of a guest are dropped until the line is in step', async () => {
  const path = await listen('', ({ execute, arguments: args }, socket) => {
    if (execute === 'guest-sync-delimited') {
      reply(socket, { return: 'an answer nobody waits for' });
      reply(socket, { return: (args?.id ?? 0) + 1 });
      socket.write(Buffer.from([0xff]));
      reply(socket, { return: args?.id });
    } else reply(socket, { return: 42 });
  });
  const channel = await openGuestChannel(path, AbortSignal.timeout(LIMIT_MS));
  const call = { command: 'guest-ping', answer: z.int(), timeoutMs: LIMIT_MS };
  expect(await Promise.all([channel.call(call), channel.call(call)])).toEqual([42, 42]);
  channel.close();
});

test('a guest that sends a line without end is cut off', async () => {
  const path = await listen('', (_, socket) => {
    socket.write(Buffer.alloc(4 * 1024 * 1024, 'x'));
  });
  const channel = await openGuestChannel(path, AbortSignal.timeout(LIMIT_MS));
  const call = { command: 'guest-ping', answer: z.int(), timeoutMs: LIMIT_MS };
  await expect(channel.call(call)).rejects.toThrow(/more than \d+ bytes/);
});

test('a guest that sends long lines that nobody asked for is cut off', async () => {
  const stray = `{"return": {}, "filler": "${'x'.repeat(1_000_000)}"}\n`;
  const path = await listen('', (_request, socket) => {
    for (let sent = 0; sent < 20; sent += 1) socket.write(stray);
  });
  const guest = await openGuestChannel(path, AbortSignal.timeout(LIMIT_MS));
  const call = guest.call({ command: 'guest-ping', answer: z.unknown(), timeoutMs: 60_000 });
  await expect(call).rejects.toThrow(/without being asked/);
});

test('a silent guest ends a call by its time limit, and the next one still works', async () => {
  let asked = 0;
  const path = await listen('', ({ execute, arguments: args }, socket) => {
    if (execute === 'guest-sync-delimited') return reply(socket, { return: args?.id });
    asked += 1;
    if (asked > 1) reply(socket, { return: 7 });
  });
  const channel = await openGuestChannel(path, AbortSignal.timeout(LIMIT_MS));
  const call = { command: 'guest-ping', answer: z.int() };
  await expect(channel.call({ ...call, timeoutMs: 50 })).rejects.toThrow(GuestAgentError);
  expect(await channel.call({ ...call, timeoutMs: LIMIT_MS })).toBe(7);
  channel.close();
});
