/** What must come of jobs, whatever happens on the way: each runs once, and nothing is left over. */
import { expect } from 'vitest';
import type { Job } from '../../fakes/github/model.ts';
import { MAX_VMS, type WholeIntake } from './whole-intake.ts';

/** Events of one job, each five times. */
const MAX_DELIVERIES_PER_JOB = 15;
const INSTALLATION_EVENTS = 10;

/** One run with so many jobs. */
export function pushJobs(whole: WholeIntake, label: string, count: number): readonly Job[] {
  const keys = Array.from(
    { length: count },
    (_, n) => `  job-${n}: { runs-on: ${label}, steps: [{ run: ok }] }`,
  );
  return whole.fixture.push(`on: push\njobs:\n${keys.join('\n')}\n`).jobs;
}

/** `timeoutMs`: for the jobs to run; unset: the test's own. */
export async function expectAllRunOnce(
  whole: WholeIntake,
  jobs: readonly Job[],
  timeoutMs?: number,
): Promise<void> {
  const { fixture, fleet, store, work, complaints, watch } = whole;
  const ended = () => jobs.filter(({ conclusion }) => conclusion === 'success').length;
  const patience = timeoutMs === undefined ? {} : { timeout: timeoutMs };
  await expect.poll(ended, patience).toBe(jobs.length);
  await expect.poll(() => fleet.vmCount).toBe(0);
  await expect.poll(async () => (await store.listOpenJobs()).length).toBe(0);
  await expect.poll(() => fixture.github.simulation.world.runners.size).toBe(0);
  expect(jobs.map(({ id }) => work.starts.get(id))).toEqual(jobs.map(() => 1));
  expect(complaints).toEqual([]);
  expect(watch.most.vms).toBeLessThanOrEqual(MAX_VMS);
  const allJobs = fixture.github.simulation.world.jobs.size;
  expect(watch.most.queued).toBeLessThanOrEqual(
    allJobs * MAX_DELIVERIES_PER_JOB + INSTALLATION_EVENTS,
  );
}
