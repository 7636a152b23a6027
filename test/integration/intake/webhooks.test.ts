import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MAX_BODY_BYTES } from '../../../app/intake/body.ts';
import {
  type IntakeRig,
  jobEvent,
  privateKey,
  SECRET,
  type Sent,
  sign,
  startIntakeRig,
  WAIT,
} from './intake-rig.ts';

let rig: IntakeRig;

beforeEach(async () => {
  rig = await startIntakeRig();
});

afterEach(() => rig.close());

const notJson = 'this is not JSON';
const shapeless = JSON.stringify({ action: 'queued', workflow_job: { id: 'x' } });
const large = JSON.stringify({ filler: 'x'.repeat(MAX_BODY_BYTES) });

const refusals: readonly (readonly [string, Partial<Sent>, number])[] = [
  ['no signature', { headers: { 'x-hub-signature-256': undefined } }, 400],
  ['a signature of another secret', { headers: { 'x-hub-signature-256': sign('x', 'y') } }, 400],
  ['a body that was changed', { headers: { 'x-hub-signature-256': sign(`${jobEvent()} `) } }, 400],
  ['a signature that is none', { headers: { 'x-hub-signature-256': 'sha256=1' } }, 400],
  ['a signed body that is not JSON', { body: notJson }, 400],
  ['a signed event of the wrong shape', { body: shapeless }, 400],
  ['a body that is too large', { body: large }, 413],
  ['a delivery id with a colon', { id: 'a:b' }, 400],
  ['no delivery id', { headers: { 'x-github-delivery': undefined } }, 400],
  ['another content type', { headers: { 'content-type': 'text/plain' } }, 415],
  ['another method', { method: 'GET' }, 404],
];

test.each(refusals)('%s is refused and not queued', async (_name, sent, status) => {
  const response = await rig.send(sent);
  expect(response.status).toBe(status);
  expect(await rig.queue.depth()).toBe(0);
});

test('a chunked body without a length is cut off at the limit', async () => {
  const body = ReadableStream.from(new Array<Uint8Array>(80).fill(new Uint8Array(64 * 1024)));
  const outcome = await fetch(rig.url, { method: 'POST', body, duplex: 'half' }).then(
    ({ status }) => status,
    () => 'cut off',
  );
  expect([413, 'cut off']).toContain(outcome);
  await vi.waitUntil(() => rig.log().includes('"statusCode":413'), WAIT);
  expect(await rig.queue.depth()).toBe(0);
});

test('a signed event is queued, cut down, under its delivery id, without a call to GitHub', async () => {
  const id = randomUUID();
  expect((await rig.send({ id })).status).toBe(200);
  const stored = await rig.connections.commands.hget(`${rig.redis.keyPrefix}:intake:${id}`, 'data');
  expect(JSON.parse(stored ?? 'null')).toMatchObject({
    name: 'workflow_job',
    payload: { workflow_job: { id: 4_242, labels: ['architect'] }, installation: { id: 5 } },
  });
  expect(stored).not.toContain('sender');
  expect(rig.apiCalls()).toBe(0);
});

test('one delivery sent five times is queued once', async () => {
  const id = randomUUID();
  const answers = await Promise.all([1, 2, 3, 4, 5].map(() => rig.send({ id })));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  expect(await rig.queue.depth()).toBe(1);
});

test('an event that nobody asked for is accepted and not queued', async () => {
  const body = JSON.stringify({ zen: 'Keep it simple.' });
  expect((await rig.send({ event: 'ping', body })).status).toBe(200);
  expect(await rig.queue.depth()).toBe(0);
});

test('an installation that is suspended is queued', async () => {
  const body = JSON.stringify({ action: 'suspend', installation: { id: 9, account: null } });
  expect((await rig.send({ event: 'installation', body })).status).toBe(200);
  expect(await rig.queue.depth()).toBe(1);
  expect(rig.apiCalls()).toBe(0);
});

test('200 deliveries at once are all queued', async () => {
  const ids = Array.from({ length: 200 }, () => randomUUID());
  const answers = await Promise.all(ids.map((id) => rig.send({ id })));
  expect(answers.every(({ status }) => status === 200)).toBe(true);
  expect(await rig.queue.depth()).toBe(200);
  expect(rig.apiCalls()).toBe(0);
});

test('while Redis is gone deliveries get 503, and are taken when it is back', async () => {
  const id = randomUUID();
  await rig.stopRedis();
  expect((await rig.send({ id })).status).toBe(503);
  await rig.startRedis();
  expect((await rig.send({ id })).status).toBe(200);
  expect(await rig.queue.depth()).toBe(1);
});

test('a Redis that hangs gets an answer out of the handler all the same', async () => {
  const pid = await vi.waitUntil(() => rig.redisPid(), WAIT);
  process.kill(pid ?? 0, 'SIGSTOP');
  try {
    expect((await rig.send({})).status).toBe(503);
  } finally {
    process.kill(pid ?? 0, 'SIGCONT');
  }
  await vi.waitUntil(async () => (await rig.send({})).status === 200, WAIT);
});

test('the log tells of refusals and holds no secret', async () => {
  await rig.send({ headers: { 'x-hub-signature-256': sign('x', 'y') } });
  await rig.send({ body: shapeless });
  await rig.stopRedis();
  await rig.send({});
  await rig.startRedis();
  await vi.waitUntil(() => rig.log().includes('"statusCode":503'), WAIT);
  const log = rig.log();
  expect(log).toContain('"statusCode":400');
  expect(log).not.toContain(SECRET);
  expect(log).not.toContain(privateKey.split('\n')[1]);
});
