/** What time alone brings about. `plan…` is pure; the sweeper carries it out. */
import type { JobLifecycle } from './job-lifecycle.ts';
import type { Job, Runner } from './model.ts';
import type { Durations } from './options.ts';
import type { RunnerLifecycle } from './runner-lifecycle.ts';
import type { World } from './world.ts';

export type JobFate = 'runs on' | 'lock lost' | 'queued too long' | 'timed out' | 'cancel unheard';
export type RunnerFate = 'stays' | 'offer lapsed' | 'unused';

export function planJobFate(job: Job, durations: Durations, now: number): JobFate {
  if (job.status === 'queued') {
    return now - job.queuedAtMs > durations.queuedJobMs ? 'queued too long' : 'runs on';
  }
  if (job.status === 'completed') return 'runs on';
  if (now > (job.lockedUntilMs ?? now)) return 'lock lost';
  if (job.cancelledAtMs !== undefined) {
    return now - job.cancelledAtMs > durations.cancelMs ? 'cancel unheard' : 'runs on';
  }
  return now - (job.assignedAtMs ?? now) > job.plan.timeoutMs ? 'timed out' : 'runs on';
}

export function planRunnerFate(
  runner: Runner,
  durations: Durations,
  { online, now }: { readonly online: boolean; readonly now: number },
): RunnerFate {
  if (runner.offered !== undefined && now - runner.offeredAtMs > durations.offerMs) {
    return 'offer lapsed';
  }
  if (online || runner.job !== undefined || runner.offered !== undefined) return 'stays';
  const since = Math.max(runner.unusedSinceMs, runner.session?.lastPollAtMs ?? 0);
  return now - since > durations.unusedJitMs ? 'unused' : 'stays';
}

export class Sweeper {
  readonly #world: World;
  readonly #jobs: JobLifecycle;
  readonly #runners: RunnerLifecycle;

  constructor(world: World, jobs: JobLifecycle, runners: RunnerLifecycle) {
    this.#world = world;
    this.#jobs = jobs;
    this.#runners = runners;
  }

  sweep(now: number): void {
    const { durations } = this.#world.options;
    for (const job of this.#world.jobs.values()) this.#endJob(job, now);
    for (const runner of [...this.#world.runners.values()]) {
      const online = this.#runners.isOnline(runner);
      const fate = planRunnerFate(runner, durations, { online, now });
      if (fate === 'unused') this.#runners.remove(runner);
      if (fate === 'offer lapsed') this.#runners.withdrawOffer(runner);
    }
    this.#runners.offerJobs();
  }

  #endJob(job: Job, now: number): void {
    const fate = planJobFate(job, this.#world.options.durations, now);
    if (fate === 'lock lost' || fate === 'queued too long') this.#jobs.complete(job, 'failure');
    if (fate === 'cancel unheard') this.#jobs.complete(job, 'cancelled');
    if (fate === 'timed out') this.#jobs.cancel(job);
  }
}
