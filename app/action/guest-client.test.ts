import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { afterEach, expect, it } from 'vitest';
import { GuestView } from '../../host-agent/protocol/guest-api.ts';
import { openGuestClient } from './guest-client.ts';

/** All that the guest API tells, and what the action uses of it. */
const TOLD = GuestView.parse({
  class: '2cpu-4gb',
  cpuModel: 'Model T',
  pricePerHourUsd: 0.01,
  moves: 1,
  held: true,
  movesWhileHeld: 1,
  resize: null,
});
const { blackoutsMs: _blackouts, cost: _cost, ...VIEW } = TOLD;
const LOOK = { method: 'GET', path: '/v1/vm', limitMs: 20_000 } as const;

let server: Server;
afterEach(() => {
  server.close().closeAllConnections();
});

/** Answers one request after the other like this. */
async function serve(...answers: readonly ((response: ServerResponse) => void)[]) {
  const asked: string[] = [];
  server = createServer(async (request, response) => {
    const body = (await request.toArray()).join('');
    asked.push(`${request.method} ${request.url} ${body}`);
    answers[Math.min(asked.length, answers.length) - 1]?.(response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return { asked, ask: openGuestClient(`http://127.0.0.1:${port}`, 1) };
}

const give = (status: number, body: unknown) => (response: ServerResponse) =>
  void response.writeHead(status).end(JSON.stringify(body));
const reset = (response: ServerResponse) => response.destroy();

it('asks again until it is answered: reset, later, too fast', async () => {
  const later = [reset, give(503, { error: 'moving' }), give(429, { error: 'slow down' })];
  const { asked, ask } = await serve(...later, give(200, TOLD));
  const hold = { method: 'PUT', path: '/v1/hold', body: { held: true }, limitMs: 20_000 } as const;
  expect(await ask(hold)).toEqual({ kind: 'ok', view: VIEW });
  expect(asked).toEqual(Array.from({ length: 4 }, () => 'PUT /v1/hold {"held":true}'));
});

it('tells what became of a resize', async () => {
  const resize = { class: 'large', state: 'refused', why: 'No host has room.' };
  const { ask } = await serve(give(200, { ...VIEW, resize }));
  const why = 'No host has room.';
  expect(await ask(LOOK)).toMatchObject({ view: { resize: { state: 'refused', why } } });
});

it.each<[string, (response: ServerResponse) => void, string]>([
  ['a refusal', give(403, { error: 'The policy forbids it.' }), 'The policy forbids it.'],
  ['a refusal without a word', give(404, ''), 'The guest API refused without saying why.'],
  ['nonsense', give(200, { class: 5 }), 'The guest API gave an answer that is none.'],
])('takes %s for an answer', async (_what, answer, why) => {
  const { asked, ask } = await serve(answer);
  expect(await ask(LOOK)).toEqual({ kind: 'refused', why });
  expect(asked).toHaveLength(1);
});

it('gives up after its time, with the last reason', async () => {
  const { ask } = await serve(give(503, { error: 'moving' }));
  expect(await ask({ ...LOOK, limitMs: 0 })).toEqual({ kind: 'refused', why: 'moving' });
});

it('does not read an endless answer', async () => {
  const { ask } = await serve((response) => void response.end('x'.repeat(100_000)));
  const reply = await ask({ ...LOOK, limitMs: 0 });
  expect(reply).toMatchObject({ kind: 'refused', why: expect.stringContaining('too long') });
});
