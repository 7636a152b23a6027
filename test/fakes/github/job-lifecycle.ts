/**
 * A job's life at the simulated GitHub.
 *
 *   queued ──acquire──→ in_progress ──result, lock lost, timeout──→ completed
 *     └──────────────cancel, 24 h──────────────────────────────────────↗
 *
 * Invariants: each transition is announced once by a workflow_job event; a completed job never
 * changes; a run is completed when all jobs of its attempt are.
 */
import type { Job, JobPlan, Repository, Run, Runner } from './model.ts';
import type { Conclusion, StepReport } from './runner-protocol.ts';
import type { World } from './world.ts';

export type JobAction = 'queued' | 'in_progress' | 'completed';

export interface LifecycleEvents {
  announce(job: Job, action: JobAction): void;
  /** A job waits for a runner. */
  offer(): void;
  /** The runner of a job that is to end. */
  tellCancelled(job: Job): void;
  /** Its one job is over: a JIT runner is gone. */
  release(job: Job): void;
}

export class JobLifecycle {
  readonly #world: World;
  readonly #events: LifecycleEvents;

  constructor(world: World, events: LifecycleEvents) {
    this.#world = world;
    this.#events = events;
  }

  queue(run: Run, plans: readonly JobPlan[]): Job[] {
    const jobs = plans.map((plan) => this.#world.addJob(run, plan));
    for (const job of jobs) this.#events.announce(job, 'queued');
    this.#events.offer();
    return jobs;
  }

  /** A new attempt, of some of the jobs of the one before; unset: of all. */
  rerun(run: Run, again: (job: Job) => boolean = () => true): void {
    const before = run.jobs.filter((job) => job.attempt === run.attempt);
    const plans = before.filter(again).map((job) => job.plan);
    run.attempt += 1;
    run.attemptStartedAtMs = Date.now();
    this.queue(run, plans);
  }

  start(job: Job, runner: Runner): void {
    const now = Date.now();
    job.status = 'in_progress';
    job.runner = { id: runner.id, name: runner.name, groupId: runner.groupId };
    job.runnerOnlineAtMs = runner.firstOnlineAtMs;
    job.assignedAtMs = now;
    job.lockedUntilMs = now + this.#world.options.durations.lockMs;
    this.#events.announce(job, 'in_progress');
  }

  /** False when the job is not running any more. */
  renew(job: Job): boolean {
    if (job.status !== 'in_progress') return false;
    job.lockedUntilMs = Date.now() + this.#world.options.durations.lockMs;
    return true;
  }

  reportStep(job: Job, number: number, report: StepReport): void {
    const now = Date.now();
    const planned = job.plan.steps.some((step) => step.number === number);
    if (planned && report.conclusion !== 'skipped') job.firstStepAtMs ??= now;
    const known = job.steps.find((step) => step.number === number);
    if (known?.status === 'completed') return;
    if (known === undefined) job.steps.push({ number, ...report });
    else Object.assign(known, report);
    job.steps.sort((a, b) => a.number - b.number);
  }

  complete(job: Job, conclusion: Conclusion): void {
    if (job.status === 'completed') return;
    job.status = 'completed';
    job.conclusion = conclusion;
    job.completedAtMs = Date.now();
    job.lockedUntilMs = undefined;
    closeSteps(job, conclusion);
    job.log.end();
    this.#events.release(job);
    this.#events.announce(job, 'completed');
    if (conclusion === 'failure' && job.plan.failFast) this.#cancelMatrix(job);
  }

  /** A queued job ends at once; a running one when its runner says so, or after `cancelMs`. */
  cancel(job: Job): void {
    if (job.status === 'queued') this.complete(job, 'cancelled');
    if (job.status !== 'in_progress' || job.cancelledAtMs !== undefined) return;
    job.cancelledAtMs = Date.now();
    this.#events.tellCancelled(job);
  }

  #cancelMatrix(failed: Job): void {
    for (const job of failed.run.jobs) {
      if (job.attempt === failed.attempt && job.plan.key === failed.plan.key) this.cancel(job);
    }
  }
}

/** A step that nobody reported the end of ends with its job. */
function closeSteps(job: Job, conclusion: Conclusion): void {
  for (const step of job.steps) {
    if (step.status === 'completed') continue;
    step.status = 'completed';
    step.conclusion = conclusion;
    step.completedAtMs = job.completedAtMs ?? null;
  }
}

export function runStatus(run: Run): 'queued' | 'in_progress' | 'completed' {
  const jobs = run.jobs.filter((job) => job.attempt === run.attempt);
  if (jobs.every((job) => job.status === 'completed')) return 'completed';
  return jobs.every((job) => job.status === 'queued') ? 'queued' : 'in_progress';
}

export function runConclusion(run: Run): Conclusion | null {
  if (runStatus(run) !== 'completed') return null;
  const jobs = run.jobs.filter((job) => job.attempt === run.attempt);
  const has = (conclusion: Conclusion) => jobs.some((job) => job.conclusion === conclusion);
  if (has('failure')) return 'failure';
  return has('cancelled') ? 'cancelled' : 'success';
}

export function openJobsOf(repository: Repository, jobs: Iterable<Job>): Job[] {
  return [...jobs].filter((job) => job.run.repository === repository && job.status !== 'completed');
}
