import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { EvidenceStore } from '../../../app/evidence/evidence-store.ts';
import { GithubAwayError, GithubDeniedError } from '../../../app/github/errors.ts';
import { createJobIntake } from '../../../app/intake/job-intake.ts';
import { type IntakeWorker, startIntakeWorker } from '../../../app/intake/worker.ts';
import { classifyJob } from '../../../app/labels/classify-job.ts';
import { DEFAULT_POLICY } from '../../../app/labels/policy.ts';
import { RecordStore } from '../../../app/records/record-store.ts';
import type { JobRecord } from '../../../app/records/records.ts';
import { JobId } from '../../../host-agent/protocol/ids.ts';
import { type IntakeRig, jobEvent, startIntakeRig, WAIT } from './intake-rig.ts';

const ID = JobId.parse('4242');
const refusedLabel = jobEvent({ labels: ['architect/cpu=256'] });

let rig: IntakeRig;
let store: RecordStore;
let evidence: EvidenceStore;
let worker: IntakeWorker;
let told: JobRecord[];
let nudges: number;
let failWith: Error[];

beforeEach(async () => {
  rig = await startIntakeRig();
  told = [];
  nudges = 0;
  failWith = [];
  store = new RecordStore({ redis: rig.connections.commands, fleet: 'test' });
  evidence = EvidenceStore.open(join(rig.dataDir, 'evidence.sqlite'));
  const intake = createJobIntake({
    book: {
      store,
      evidence,
      classify: ({ labels, origin }) =>
        classifyJob({ labels, repository: `${origin.owner}/${origin.repo}` }, DEFAULT_POLICY),
    },
    notices: {
      refused: async (job) => {
        const failure = failWith.shift();
        if (failure !== undefined) throw failure;
        told.push(job);
      },
    },
    nudge: () => {
      nudges += 1;
    },
    logger: rig.logger,
  });
  worker = startIntakeWorker({ redis: rig.redis, intake, logger: rig.logger });
});

afterEach(async () => {
  await worker.close();
  evidence.close();
  await rig.close();
});

function reached(count: number): Promise<boolean> {
  return vi.waitUntil(() => nudges === count, WAIT);
}

test('a webhook becomes a queued job with its first moment, told to nobody', async () => {
  await rig.send({});
  await reached(1);
  expect(await store.readJob(ID)).toMatchObject({ state: 'queued', generation: 1 });
  expect(evidence.timeline(ID).map(({ moment }) => moment)).toEqual(['webhook-received']);
  expect(told).toEqual([]);
});

test('whatever the order of its events, a completed job stays completed', async () => {
  const done = { status: 'completed', conclusion: 'success', completed_at: '2026-01-01T00:01:00Z' };
  await rig.send({ body: jobEvent(done) });
  await reached(1);
  await rig.send({});
  await reached(2);
  expect(await store.readJob(ID)).toMatchObject({ state: 'completed', conclusion: 'success' });
});

test('a refused label is kept with its reason, and its author is told', async () => {
  await rig.send({ body: refusedLabel });
  await reached(1);
  expect(await store.readJob(ID)).toMatchObject({ state: 'refused' });
  expect(told[0]?.why).toContain('cpu=256');
});

test('a refusal that GitHub could not take is told later', async () => {
  failWith = [new GithubAwayError('away')];
  await rig.send({ body: refusedLabel });
  await reached(1);
  expect(told).toHaveLength(1);
});

test('a refusal that GitHub never takes does not hold the event up', async () => {
  failWith = [new GithubDeniedError('no', 403)];
  await rig.send({ body: refusedLabel });
  await reached(1);
  expect(told).toEqual([]);
  expect(rig.log()).toContain('"again":false');
});

test('after Redis was emptied new deliveries are taken in as before', async () => {
  await rig.send({});
  await reached(1);
  await rig.connections.commands.flushall();
  await rig.send({ body: jobEvent({ id: 9 }) });
  await reached(2);
  expect((await store.listOpenJobs()).map(({ id }) => id)).toEqual(['9']);
});
