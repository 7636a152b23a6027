/** GitHub at its worst: every job that it would have run is run once, and nothing is left over. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Job } from '../../fakes/github/model.ts';
import type { GivenOptions } from '../../fakes/github/options.ts';
import { hastenClock } from './fast-clock.ts';
import { PACE } from './pace.ts';
import { expectAllRunOnce, pushJobs } from './run-once.ts';
import { startWholeIntake, type WholeIntake, type WholeOptions } from './whole-intake.ts';

const JOBS = 24;
const OURS = 'architect';
/** Fewer than the VMs that a job may have: however they fall, none runs out of them. */
const THIEVES = 4;

let whole: WholeIntake;

async function start(given: Partial<GivenOptions> = {}, options: WholeOptions = {}) {
  whole = await startWholeIntake(given, options);
}

beforeEach(() => hastenClock(PACE));
afterEach(async () => {
  await whole.close();
  vi.unstubAllGlobals();
});

const push = (label: string, count: number) => pushJobs(whole, label, count);
const allRunOnce = (jobs: readonly Job[]) => expectAllRunOnce(whole, jobs);
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
  const thieves = push('ubuntu-latest', THIEVES);
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

const ENDPOINTS = [
  ['POST', '/access_tokens$'],
  ['GET', '/app/installations$'],
  ['GET', '/installation/repositories$'],
  ['GET', '/actions/runs$'],
  ['GET', '/actions/runs/[0-9]+/jobs$'],
  ['GET', '/actions/jobs/[0-9]+$'],
  ['GET', '/actions/runners$'],
  ['POST', '/generate-jitconfig$'],
  ['DELETE', '/actions/runners/[0-9]+$'],
  ['GET', '/app/hook/deliveries$'],
  ['POST', '/app/hook/deliveries/[0-9]+/attempts$'],
] as const;

it.each(ENDPOINTS)('%s %s answers 500', async (method, path) => {
  await start();
  const { apiFaults, jobs } = whole.fixture.github.simulation;
  await deliveries({ drop: { count: 10_000, unrecorded: false } });
  await apiFault({ method, path, status: 500, count: 2 });
  await whole.fixture.control('POST', '/faults/tokens');
  const cancelled = push(OURS, 1);
  whole.work.choose = (_runner, queued) => queued.find((job) => !cancelled.includes(job));
  const wanted = push(OURS, 2);
  await expect.poll(() => wanted.every(({ status }) => status === 'completed')).toBe(true);
  for (const job of cancelled) jobs.cancel(job);
  await allRunOnce(wanted);
  // It may not be asked a second time: a delivery that is sent again tells the same.
  await expect.poll(() => apiFaults.every(({ count }) => count < 2)).toBe(true);
});

it('tokens end in the middle of requests', async () => {
  await start();
  const { tokens } = whole.fixture.github.simulation;
  const check = tokens.check.bind(tokens);
  let turn = 0;
  vi.spyOn(tokens, 'check').mockImplementation((token) => {
    turn += 1;
    if (turn % 11 === 0) tokens.expireAll();
    return check(token);
  });
  await allRunOnce(push(OURS, JOBS));
  expect(turn).toBeGreaterThan(11);
});

it.each([
  ['behind', -1],
  ['ahead of', 1],
])('the clock is ten minutes %s GitHub’s', async (_, sign) => {
  const aheadMs = sign * 600_000;
  await start({ clockAheadMs: -aheadMs }, { aheadMs });
  await deliveries({ drop: { count: JOBS, unrecorded: true } });
  await allRunOnce(push(OURS, JOBS));
});

it('an installation is removed with 50 jobs at work', async () => {
  await start();
  const over = Promise.withResolvers<void>();
  whole.work.run = () => over.promise;
  const jobs = push(OURS, 50);
  await expect.poll(() => jobs.every(({ status }) => status === 'in_progress')).toBe(true);
  whole.work.choose = () => undefined;
  const waiting = push(OURS, 10);
  await expect.poll(async () => (await whole.store.listOpenJobs()).length).toBe(60);
  await whole.fixture.control('DELETE', '/installations/1');
  await expect.poll(async () => (await whole.store.listOpenJobs()).length).toBe(50);
  await expect.poll(() => whole.fleet.vmCount).toBe(50);
  over.resolve();
  await expect.poll(() => whole.fleet.vmCount).toBe(0);
  await expect.poll(async () => (await whole.store.listOpenJobs()).length).toBe(0);
  expect(jobs.map(({ id }) => whole.work.starts.get(id))).toEqual(jobs.map(() => 1));
  expect(waiting.every(({ id }) => !whole.work.starts.has(id))).toBe(true);
  expect(whole.complaints).toEqual([]);
});

it('runners expire unused, and their jobs get others', async () => {
  await start();
  const jobs = push(OURS, 4);
  let turn = 0;
  whole.work.choose = (_runner, [first]) => {
    turn += 1;
    return turn > jobs.length ? first : undefined;
  };
  await allRunOnce(jobs);
  expect(turn).toBe(2 * jobs.length);
});

it('more jobs are queued at once than may be registered in a minute', async () => {
  hastenClock(Math.min(10, PACE));
  await start();
  await allRunOnce(push(OURS, 200));
  expect(whole.fixture.github.simulation.limits.exceeded).toBe(0);
});

it('a secondary limit falls into the middle of minting', async () => {
  await start();
  const jobs = push(OURS, 6);
  await apiFault({
    ...{ path: '/generate-jitconfig', status: 403, count: 3 },
    headers: { 'retry-after': '60' },
  });
  await allRunOnce(jobs);
});
