import examples from '@octokit/webhooks-examples' with { type: 'json' };
import { expect, test } from 'vitest';
import { z } from 'zod';
import { parseDelivery, QueuedEvent } from './delivery.ts';

const ID = '72d3162e-cc78-11e3-81ab-4c9367dc0958';
const NOW_MS = 1_700_000_000_000;
const Named = z.array(z.object({ name: z.string(), examples: z.array(z.unknown()) }));
const published = Named.parse(examples).flatMap(({ name, examples: payloads }) =>
  payloads.map((payload) => ({ name, payload })),
);
const wanted = published.filter(({ name }) => name === 'workflow_job' || name === 'installation');

test('each published event that is wanted survives the queue', () => {
  expect(wanted.length).toBeGreaterThan(10);
  for (const { name, payload } of wanted) {
    const parsed = parseDelivery({ id: ID, name, payload }, NOW_MS);
    if (parsed.kind !== 'delivery') throw new Error(`${name} is ${parsed.kind}`);
    const stored: unknown = JSON.parse(JSON.stringify(parsed.delivery.event));
    expect(QueuedEvent.parse(stored)).toMatchObject({ name, receivedAtMs: NOW_MS });
  }
});

test('times come out of the queue as they went in', () => {
  for (const { name, payload } of wanted.filter((event) => event.name === 'workflow_job')) {
    const parsed = parseDelivery({ id: ID, name, payload }, NOW_MS);
    if (parsed.kind !== 'delivery') throw new Error(parsed.kind);
    const direct = QueuedEvent.parse({ name, payload, receivedAtMs: NOW_MS });
    const queued = QueuedEvent.parse(parsed.delivery.event);
    if (direct.name !== 'workflow_job' || queued.name !== 'workflow_job') throw new Error(name);
    const { started_at, completed_at } = direct.payload.workflow_job;
    expect(queued.payload.workflow_job.started_at).toBe(started_at ?? null);
    expect(queued.payload.workflow_job.completed_at).toBe(completed_at ?? null);
  }
});

test('every other published event is ignored', () => {
  for (const { name, payload } of published.filter((event) => !wanted.includes(event))) {
    expect(parseDelivery({ id: ID, name, payload }, NOW_MS).kind).toBe('ignored');
  }
});

test.each(['', 'a:b', '12345', 'x'.repeat(101), 'a b', '../x'])('%j is no delivery id', (id) => {
  expect(parseDelivery({ id, name: 'ping', payload: {} }, NOW_MS).kind).toBe('malformed');
});

test('a wanted event of the wrong shape says what is wrong', () => {
  const parsed = parseDelivery({ id: ID, name: 'workflow_job', payload: { action: 1 } }, NOW_MS);
  expect(parsed).toMatchObject({ kind: 'malformed', why: expect.stringContaining('action') });
});
