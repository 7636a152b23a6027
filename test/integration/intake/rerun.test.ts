import { afterEach, beforeEach, expect, it } from 'vitest';
import type { JobRecord } from '../../../app/records/records.ts';
import type { JobId } from '../../../host-agent/protocol/ids.ts';
import type { Run } from '../../fakes/github/model.ts';
import type { Permissions } from '../../fakes/github/options.ts';
import { jobRecord } from '../../fixtures/records.ts';
import { type PollRig, startPollRig } from './poll-rig.ts';

const MAY: Permissions = {
  ...{ organization_self_hosted_runners: 'write', actions: 'write', metadata: 'read' },
};
const TWO_JOBS = (second = 'architect') => `
on: push
jobs:
  one: { runs-on: architect, steps: [{ run: 'true' }] }
  two: { runs-on: ${second}, steps: [{ run: 'true' }] }
`;

let rig: PollRig;
let run: Run;

async function start(permissions = MAY, second?: string) {
  rig = await startPollRig({ permissions });
  run = rig.fixture.push(TWO_JOBS(second));
}

beforeEach(() => start());
afterEach(() => rig.close());

/** The n-th job of the run has lost its machine, and GitHub has seen it fail. */
async function lose(n: number): Promise<JobId> {
  const job = run.jobs[n];
  if (job === undefined) throw new Error('no such job');
  rig.fixture.github.simulation.jobs.complete(job, 'failure');
  const { owner, name: repo } = run.repository;
  const origin = { installationId: 1, owner: owner.login, repo, runId: run.id, headSha: run.sha };
  const record = jobRecord({
    ...{ id: String(job.id), state: 'lost', why: 'Its VM died.', rerun: 'wanted' },
    origin: { ...origin, scope: 'organization' },
    lostAtMs: Date.now(),
  });
  rig.evidence.rememberJob(record);
  await rig.evidence.written();
  return record.id;
}

function end(n: number, conclusion: 'success' | 'failure'): void {
  const job = run.jobs[n];
  if (job !== undefined) rig.fixture.github.simulation.jobs.complete(job, conclusion);
}

function recordOf(id: JobId): JobRecord | undefined {
  return rig.evidence.readJob(id);
}

const againNames = () =>
  run.jobs.filter(({ attempt }) => attempt === 2).map(({ plan }) => plan.key);

it('a lost job is run again once its workflow run has ended, and once only', async () => {
  const id = await lose(0);
  await rig.poll.round();
  expect(run.attempt).toBe(1);
  end(1, 'success');
  await rig.poll.round();
  expect(againNames()).toEqual(['one']);
  expect(recordOf(id)).toMatchObject({ rerun: 'asked', why: 'Its VM died. It is run again.' });
  for (const job of run.jobs) rig.fixture.github.simulation.jobs.complete(job, 'failure');
  await rig.poll.round();
  expect(run.attempt).toBe(2);
});

it('several lost jobs of one run are run again together', async () => {
  const ids = [await lose(0), await lose(1)];
  await rig.poll.round();
  expect(againNames()).toEqual(['one', 'two']);
  expect(ids.map((id) => recordOf(id)?.rerun)).toEqual(['asked', 'asked']);
});

it('a marked workflow is never run again', async () => {
  await rig.close();
  await start(MAY, 'architect/rerun=false');
  const id = await lose(0);
  end(1, 'failure');
  await rig.poll.round();
  expect(run.attempt).toBe(1);
  expect(recordOf(id)).toMatchObject({ rerun: 'given-up', why: expect.stringContaining('marked') });
});

it('an App that may not write actions says so', async () => {
  await rig.close();
  await start({ ...MAY, actions: 'read' });
  const id = await lose(0);
  end(1, 'success');
  await rig.poll.round();
  expect(run.attempt).toBe(1);
  expect(recordOf(id)).toMatchObject({
    rerun: 'given-up',
    why: expect.stringContaining('may not'),
  });
});

it('a GitHub that does not answer is asked again', async () => {
  const id = await lose(0);
  end(1, 'success');
  const fault = { path: '/rerun$', method: 'POST', status: 502, count: 1 };
  await rig.fixture.control('POST', '/faults/api', fault);
  await rig.poll.round();
  expect(recordOf(id)?.rerun).toBe('wanted');
  await rig.poll.round();
  expect(recordOf(id)?.rerun).toBe('asked');
});
