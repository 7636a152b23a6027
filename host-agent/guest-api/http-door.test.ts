/** One VM's server against a guest that does what it likes, over real sockets. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { GuestAnswer, GuestAsk } from '../protocol/guest-api.ts';
import { createHttpDoor, MAX_BODY_BYTES } from './http-door.ts';
import { BURST } from './request-rate.ts';

const VIEW = {
  class: '2cpu-4gb',
  cpuModel: 'Model T',
  pricePerHourUsd: 0.01,
  moves: 0,
  blackoutsMs: [],
  cost: null,
  held: false,
  movesWhileHeld: 0,
  resize: null,
};

let asked: GuestAsk[];
let answer: GuestAnswer;
let clockMs: number;
let door: Server;
let port: number;

beforeEach(async () => {
  asked = [];
  answer = { kind: 'ok', view: VIEW };
  clockMs = 0;
  const ask = async (what: GuestAsk) => {
    asked.push(what);
    return answer;
  };
  door = createHttpDoor(ask, () => clockMs).listen(0, '127.0.0.1');
  await once(door, 'listening');
  port = addressOf(door).port;
});
afterEach(() => {
  door.close().closeAllConnections();
});

function addressOf(server: Server): AddressInfo {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not on TCP');
  return address;
}

function http(path: string, init: RequestInit = {}) {
  return fetch(`http://127.0.0.1:${port}${path}`, init);
}

/** Sends the bytes and reads until the door ends the connection. */
async function raw(...parts: readonly (string | Buffer)[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  const read: Buffer[] = [];
  socket.on('data', (data) => read.push(data));
  for (const part of parts) socket.write(part);
  await new Promise((resolve) => socket.once('close', resolve));
  return Buffer.concat(read).toString('latin1');
}

it('answers a look, and a hold', async () => {
  const look = await http('/v1/vm');
  expect([look.status, await look.json()]).toEqual([200, VIEW]);
  const headers = { 'Content-Type': 'application/json' };
  await http('/v1/hold', { method: 'PUT', headers, body: '{"held":true}' });
  expect(asked).toEqual([{ kind: 'look' }, { kind: 'hold', held: true }]);
});

it('answers with Markdown where a summary is asked for', async () => {
  const summary = await http('/v1/summary');
  expect(summary.headers.get('content-type')).toBe('text/markdown; charset=utf-8');
  expect(await summary.text()).toContain('| Class | `2cpu-4gb` |');
  answer = { kind: 'refused', why: 'Moving.', retry: 'later' };
  expect((await http('/v1/summary')).status).toBe(503);
});

it('tells a refusal for good from one for now', async () => {
  answer = { kind: 'refused', why: 'No.', retry: 'never' };
  const never = await http('/v1/vm');
  expect([never.status, await never.json()]).toEqual([403, { error: 'No.' }]);
  answer = { kind: 'refused', why: 'Moving.', retry: 'later' };
  const later = await http('/v1/vm');
  expect([later.status, later.headers.get('retry-after')]).toEqual([503, '1']);
});

it('asks nobody about what is wrong', async () => {
  expect((await http('/v1/vm?id=vm-2')).status).toBe(404);
  expect((await http('/v1/hold')).headers.get('allow')).toBe('PUT');
  expect(asked).toEqual([]);
});

it('lets a burst pass, then a few a second', async () => {
  const statuses: number[] = [];
  for (let n = 0; n < BURST + 2; n += 1) statuses.push((await http('/v1/vm')).status);
  expect(statuses).toEqual([...Array.from({ length: BURST }, () => 200), 429, 429]);
  clockMs = 250;
  expect((await http('/v1/vm')).status).toBe(200);
  expect((await http('/v1/vm')).status).toBe(429);
  expect(asked).toHaveLength(BURST + 1);
});

it.each<[string, string, number]>([
  [
    'a body too large',
    `Content-Length: ${MAX_BODY_BYTES + 1}\r\n\r\n${'x'.repeat(MAX_BODY_BYTES + 1)}`,
    413,
  ],
  [
    'a chunked body too large',
    `Transfer-Encoding: chunked\r\n\r\n800\r\n${'x'.repeat(0x800)}\r\n`,
    413,
  ],
  ['headers too large', `X: ${'x'.repeat(5_000)}\r\n\r\n`, 431],
  ['two lengths', 'Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx', 400],
  ['length and chunks', 'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
])('ends a connection with %s', async (_what, rest, status) => {
  expect(await raw(`PUT /v1/hold HTTP/1.1\r\nHost: a\r\n${rest}`)).toMatch(
    new RegExp(`^HTTP/1.1 ${status} `),
  );
  expect(asked).toEqual([]);
});

it('does not wait for one that does not finish its headers, or its body', async () => {
  const [headers, body] = await Promise.all([
    raw('GET /v1/vm HTTP/1.1\r\nHost: a\r\n'),
    raw('PUT /v1/hold HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{'),
  ]);
  expect([headers, body].map((text) => text.slice(0, 12))).toEqual([
    'HTTP/1.1 408',
    'HTTP/1.1 408',
  ]);
});

it('has room for eight connections', async () => {
  const sockets = Array.from({ length: 8 }, () => connect(port, '127.0.0.1'));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  expect(await raw('GET /v1/vm HTTP/1.1\r\nHost: a\r\n\r\n')).toBe('');
  for (const socket of sockets) socket.destroy();
});
