import { randomUUID } from 'node:crypto';
import { Queue, UnrecoverableError } from 'bullmq';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { INTAKE_QUEUE } from '../../../app/intake/queue.ts';
import { type IntakeWorker, startIntakeWorker } from '../../../app/intake/worker.ts';
import type { JobFacts } from '../../../app/records/records.ts';
import { type IntakeRig, jobEvent, recordingIntake, startIntakeRig, WAIT } from './intake-rig.ts';

let rig: IntakeRig;
let worker: IntakeWorker | undefined;

beforeEach(async () => {
  rig = await startIntakeRig();
});

afterEach(async () => {
  await worker?.close();
  worker = undefined;
  await rig.close();
});

function work(intake: Parameters<typeof startIntakeWorker>[0]['intake']): void {
  worker = startIntakeWorker({ redis: rig.redis, intake, logger: rig.logger });
}

async function drained(): Promise<void> {
  await vi.waitUntil(async () => (await rig.queue.depth()) === 0, WAIT);
}

test('a queued job reaches the records as facts, and the reconciler is asked to look', async () => {
  const { applied, nudges, intake } = recordingIntake();
  work(intake);
  await rig.send({});
  await vi.waitUntil(() => nudges() === 1, WAIT);
  expect(applied).toMatchObject([
    { id: '4242', status: 'queued', labels: ['architect'], origin: { scope: 'organization' } },
  ]);
});

test('the same delivery sent again after it was worked on is not applied twice', async () => {
  const { applied, nudges, intake } = recordingIntake();
  work(intake);
  const id = randomUUID();
  await rig.send({ id });
  await vi.waitUntil(() => nudges() === 1, WAIT);
  expect((await rig.send({ id })).status).toBe(200);
  await rig.send({ body: jobEvent({ id: 9 }) });
  await vi.waitUntil(() => nudges() === 2, WAIT);
  expect(applied.map((facts) => facts.id)).toEqual(['4242', '9']);
});

test('jobs of other runners leave no trace', async () => {
  const { applied, intake } = recordingIntake();
  await rig.send({ body: jobEvent({ labels: ['ubuntu-latest'] }) });
  await rig.send({ body: jobEvent({ labels: [] }) });
  await rig.send({ body: jobEvent({ id: 77, labels: ['architect/nonsense=1'] }) });
  work(intake);
  await drained();
  expect(applied.map((facts) => facts.id)).toEqual(['77']);
});

test('events in the wrong order and twice all arrive', async () => {
  const { applied, nudges, intake } = recordingIntake();
  work(intake);
  for (const status of ['completed', 'queued', 'queued', 'in_progress']) {
    await rig.send({ body: jobEvent({ status }) });
  }
  await vi.waitUntil(() => nudges() === 4, WAIT);
  const seen = applied.map((facts) => facts.status).sort();
  expect(seen).toEqual(['completed', 'in_progress', 'queued', 'queued']);
});

test.each([
  ['suspend', [5]],
  ['deleted', [5]],
  ['unsuspend', []],
])('of an installation’s %s the records hear where jobs have to go', async (action, heard) => {
  const { closed, nudges, intake } = recordingIntake();
  work(intake);
  const installation = { id: 5, account: { login: 'octo' } };
  await rig.send({ event: 'installation', body: JSON.stringify({ action, installation }) });
  await vi.waitUntil(() => nudges() === 1, WAIT);
  expect(closed).toEqual(heard);
});

test('an event whose records fail is tried again', async () => {
  const { applied, nudges, intake } = recordingIntake();
  let failures = 1;
  work({
    ...intake,
    applyJobFacts: async (facts: JobFacts) => {
      failures -= 1;
      if (failures >= 0) throw new Error('the store is away');
      return intake.applyJobFacts(facts);
    },
  });
  await rig.send({});
  await vi.waitUntil(() => nudges() === 1, WAIT);
  expect(applied).toHaveLength(1);
  expect(rig.log()).toContain('an event could not be taken in');
});

test('a delivery that failed for good is taken when it is sent again', async () => {
  const { applied, nudges, intake } = recordingIntake();
  const id = randomUUID();
  let broken = true;
  work({
    ...intake,
    applyJobFacts: async (facts: JobFacts) => {
      if (broken) throw new UnrecoverableError('the store is broken');
      return intake.applyJobFacts(facts);
    },
  });
  await rig.send({ id });
  await vi.waitUntil(() => rig.log().includes('"final":true'), WAIT);
  broken = false;
  await rig.send({ id });
  await vi.waitUntil(() => nudges() === 1, WAIT);
  expect(applied).toHaveLength(1);
});

test('a queued event that is not understood is logged, and not tried again', async () => {
  const { nudges, intake } = recordingIntake();
  const { commands } = rig.connections;
  const queue = new Queue(INTAKE_QUEUE, { connection: commands, prefix: rig.redis.keyPrefix });
  await queue.add('workflow_job', { name: 'odd' }, { jobId: 'odd-one', attempts: 8 });
  await rig.send({});
  work(intake);
  await vi.waitUntil(() => nudges() === 1, WAIT);
  await vi.waitUntil(() => rig.log().includes('odd-one'), WAIT);
  expect(rig.log()).toContain('"deliveryId":"odd-one","attempt":1,"final":true');
  await queue.close();
});

test('the worker goes on after Redis was away', async () => {
  const { nudges, intake } = recordingIntake();
  work(intake);
  await rig.send({});
  await vi.waitUntil(() => nudges() === 1, WAIT);
  await rig.stopRedis();
  await rig.startRedis();
  await rig.send({ body: jobEvent({ id: 9 }) });
  await vi.waitUntil(() => nudges() === 2, WAIT);
});
