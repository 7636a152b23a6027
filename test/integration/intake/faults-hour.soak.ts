/** What GitHub's worst hours take too long for in every run of the tests. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Job } from '../../fakes/github/model.ts';
import type { GivenOptions } from '../../fakes/github/options.ts';
import { hastenClock } from './fast-clock.ts';
import { IN_REAL_TIME, MINUTE_MS, PACE } from './pace.ts';
import { expectAllRunOnce, pushJobs } from './run-once.ts';
import { startWholeIntake, type WholeIntake } from './whole-intake.ts';

const HOUR_MS = 60 * MINUTE_MS;
const PAUSE_MS = 3 * MINUTE_MS;
/** By the machine's clock: 5,000 jobs take either its own time or GitHub's, which has them registered slowly. */
const LIMIT_MS = (IN_REAL_TIME ? 60 : 20) * 60_000;
/** Jobs go on for a little longer than a token is good for. */
const TOKEN_MINUTES = 58;

let whole: WholeIntake;

const start = async (given: Partial<GivenOptions> = {}) => {
  whole = await startWholeIntake(given, { pollMs: MINUTE_MS });
};

beforeEach(() => hastenClock(PACE));
afterEach(async () => {
  await whole.close();
  vi.unstubAllGlobals();
});

const exceeded = () => whole.fixture.github.simulation.limits.exceeded;

it('every webhook is lost for an hour, and GitHub has them in its log', () => loseAnHour(false));
it('every webhook is lost for an hour, and nothing is left of them', () => loseAnHour(true));

it('GitHub ends each token before its hour is over, whatever is asked with it', async () => {
  await start({ durations: { tokenMs: TOKEN_MINUTES * 60_000 } });
  const { tokens } = whole.fixture.github.simulation;
  const create = vi.spyOn(tokens, 'create');
  const check = vi.spyOn(tokens, 'check');
  const jobs = await pushThroughAnHour();
  await expectAllRunOnce(whole, jobs);
  expect(create.mock.calls.length).toBeGreaterThan(1);
  expect(check.mock.results.some(({ type }) => type === 'throw')).toBe(true);
});

it(
  '5,000 jobs are queued in one minute',
  async () => {
    await start();
    const jobs: Job[] = [];
    for (let n = 0; n < 20; n += 1) {
      jobs.push(...pushJobs(whole, 'architect', 250));
      await delay(MINUTE_MS / 20);
    }
    await expectAllRunOnce(whole, jobs, LIMIT_MS);
    expect(exceeded()).toBe(0);
  },
  LIMIT_MS,
);

async function pushThroughAnHour(): Promise<readonly Job[]> {
  const jobs: Job[] = [];
  for (let passedMs = 0; passedMs < HOUR_MS; passedMs += PAUSE_MS) {
    jobs.push(...pushJobs(whole, 'architect', 10));
    await delay(PAUSE_MS);
    const late = jobs.slice(0, -10).filter(({ status }) => status === 'queued');
    expect(late).toEqual([]);
  }
  return jobs;
}

async function loseAnHour(unrecorded: boolean): Promise<void> {
  await start();
  const drop = (count: number) =>
    whole.fixture.control('PUT', '/faults/deliveries', { drop: { count, unrecorded } });
  await drop(10_000);
  const jobs = await pushThroughAnHour();
  await drop(0);
  await expectAllRunOnce(whole, jobs);
  expect(exceeded()).toBe(0);
}
