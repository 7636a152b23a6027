/** What GitHub's worst hours take too long for in every run of the tests; a minute is a second. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Job } from '../../fakes/github/model.ts';
import { hastenClock } from './fast-clock.ts';
import { expectAllRunOnce, pushJobs } from './run-once.ts';
import { startWholeIntake, type WholeIntake } from './whole-intake.ts';

const MINUTE_MS = 1_000;
const HOUR_MS = 60 * MINUTE_MS;
const PAUSE_MS = 3 * MINUTE_MS;
/** Of the machine's own time, which is what 5,000 jobs take. */
const LIMIT_MS = 20 * 60_000;

let whole: WholeIntake;

beforeEach(async () => {
  hastenClock(60);
  whole = await startWholeIntake({}, { pollMs: MINUTE_MS });
});
afterEach(async () => {
  await whole.close();
  vi.unstubAllGlobals();
});

const exceeded = () => whole.fixture.github.simulation.limits.exceeded;

it.each([
  ['and GitHub has them in its log', false],
  ['and nothing is left of them', true],
])('every webhook is lost for an hour, %s', async (_, unrecorded) => {
  const drop = (count: number) =>
    whole.fixture.control('PUT', '/faults/deliveries', { drop: { count, unrecorded } });
  await drop(10_000);
  const jobs: Job[] = [];
  for (let passedMs = 0; passedMs < HOUR_MS; passedMs += PAUSE_MS) {
    jobs.push(...pushJobs(whole, 'architect', 10));
    await delay(PAUSE_MS);
    const late = jobs.slice(0, -10).filter(({ status }) => status === 'queued');
    expect(late).toEqual([]);
  }
  await drop(0);
  await expectAllRunOnce(whole, jobs);
  expect(exceeded()).toBe(0);
});

it(
  '5,000 jobs are queued in one minute',
  async () => {
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
