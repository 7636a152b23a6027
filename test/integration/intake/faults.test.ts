/** GitHub at its worst: every job that it would have run is run once, and nothing is left over. */
import { afterEach, expect, it } from 'vitest';
import type { Job } from '../../fakes/github/model.ts';
import type { GivenOptions } from '../../fakes/github/options.ts';
import { startWholeIntake, type WholeIntake } from './whole-intake.ts';

const JOBS = 24;
const OURS = 'architect';

let whole: WholeIntake;

async function start(given: Partial<GivenOptions> = {}) {
  whole = await startWholeIntake(given);
}

afterEach(() => whole.close());

function push(label: string, count: number): readonly Job[] {
  const keys = Array.from(
    { length: count },
    (_, n) => `  job-${n}: { runs-on: ${label}, steps: [{ run: ok }] }`,
  );
  return whole.fixture.push(`on: push\njobs:\n${keys.join('\n')}\n`).jobs;
}

async function allRunOnce(jobs: readonly Job[]) {
  const ended = () => jobs.filter(({ conclusion }) => conclusion === 'success').length;
  await expect.poll(ended).toBe(jobs.length);
  await expect.poll(() => whole.fleet.vmCount).toBe(0);
  await expect.poll(async () => (await whole.store.listOpenJobs()).length).toBe(0);
  await expect.poll(() => whole.fixture.github.simulation.world.runners.size).toBe(0);
  expect(jobs.map(({ id }) => whole.work.starts.get(id))).toEqual(jobs.map(() => 1));
  expect(whole.complaints).toEqual([]);
}

const deliveries = (faults: unknown) => whole.fixture.control('PUT', '/faults/deliveries', faults);
const apiFault = (fault: unknown) => whole.fixture.control('POST', '/faults/api', fault);

it('every webhook is lost, and nothing is left of it', async () => {
  await start();
  await deliveries({ drop: { count: 10_000, unrecorded: true } });
  await allRunOnce(push(OURS, JOBS));
});

it('each webhook comes five times, in random order', async () => {
  await start();
  await deliveries({
    duplicate: { count: 10_000, copies: 4 },
    shuffle: { count: JOBS },
  });
  await allRunOnce(push(OURS, JOBS));
});

it('every second runner is taken by a job that the App does not see as its own', async () => {
  await start();
  const thieves = push('ubuntu-latest', JOBS / 2);
  const jobs = push(OURS, JOBS / 2);
  const isThief = ({ id }: Job) => thieves.some((thief) => thief.id === id);
  let turn = 0;
  whole.work.choose = (_runner, queued) => {
    turn += 1;
    const thief = turn % 2 === 0 ? queued.find(isThief) : undefined;
    return thief ?? queued.find((job) => !isThief(job));
  };
  await allRunOnce(jobs);
  expect(thieves.some(({ id }) => whole.work.starts.get(id) === 1)).toBe(true);
});

it('each endpoint answers 500 for a while, and all tokens end', async () => {
  await start();
  const jobs = push(OURS, 4);
  for (const path of [
    '/generate-jitconfig',
    '/app/installations',
    '/actions/runs',
    '/access_tokens',
  ])
    await apiFault({ path, status: 500, count: 3 });
  await whole.fixture.control('POST', '/faults/tokens');
  await allRunOnce(jobs);
});

it('a secondary limit falls into the middle of minting', async () => {
  await start();
  const jobs = push(OURS, 6);
  await apiFault({
    ...{ path: '/generate-jitconfig', status: 403, count: 3 },
    headers: { 'retry-after': '2' },
  });
  await allRunOnce(jobs);
});
