/** What the control API shows: times in milliseconds, nothing hidden. */
import { runConclusion, runStatus } from './job-lifecycle.ts';
import type { Job, Run, Runner } from './model.ts';

export function jobView(job: Job) {
  return {
    id: job.id,
    runId: job.run.id,
    attempt: job.attempt,
    key: job.plan.key,
    name: job.plan.name,
    labels: job.plan.labels,
    status: job.status,
    conclusion: job.conclusion,
    runnerId: job.runner?.id ?? null,
    runnerName: job.runner?.name ?? null,
    queuedAtMs: job.queuedAtMs,
    webhookSentAtMs: job.webhookSentAtMs ?? null,
    runnerOnlineAtMs: job.runnerOnlineAtMs ?? null,
    assignedAtMs: job.assignedAtMs ?? null,
    firstStepAtMs: job.firstStepAtMs ?? null,
    completedAtMs: job.completedAtMs ?? null,
    logBytes: job.log.length,
    steps: job.steps,
  };
}
export type JobView = ReturnType<typeof jobView>;

export function runView(run: Run) {
  return {
    id: run.id,
    number: run.number,
    repository: `${run.repository.owner.login}/${run.repository.name}`,
    attempt: run.attempt,
    sha: run.sha,
    status: runStatus(run),
    conclusion: runConclusion(run),
    jobs: run.jobs.map(jobView),
  };
}
export type RunView = ReturnType<typeof runView>;

export function runnerView(runner: Runner, online: boolean) {
  return {
    id: runner.id,
    name: runner.name,
    labels: runner.labels,
    online,
    busy: runner.job !== undefined,
    jobId: runner.job?.id ?? null,
    createdAtMs: runner.createdAtMs,
    firstOnlineAtMs: runner.firstOnlineAtMs ?? null,
  };
}
export type RunnerView = ReturnType<typeof runnerView>;
