/** Runs, jobs, runners and checks as GitHub's API and webhooks show them. */
import { createHash } from 'node:crypto';
import { type JobAction, runConclusion, runStatus } from './job-lifecycle.ts';
import type { CheckRun, Installation, Job, Repository, Run, Runner, StepState } from './model.ts';
import {
  appPayload,
  instant,
  instantOrNull,
  minimalRepositoryPayload,
  nodeId,
  organizationPayload,
  repositoryPayload,
  userPayload,
} from './payload-account.ts';
import type { World } from './world.ts';

const WEB_URL = 'https://github.com';
const GROUP_NAME = 'Default';

function repositoryUrl(world: World, { owner, name }: Repository): string {
  return `${world.url}/repos/${owner.login}/${name}`;
}

export function runnerPayload(runner: Runner, online: boolean) {
  return {
    id: runner.id,
    runner_group_id: runner.groupId,
    name: runner.name,
    os: runner.firstOnlineAtMs === undefined ? 'unknown' : 'Linux',
    status: online || runner.job !== undefined ? 'online' : 'offline',
    busy: runner.job !== undefined,
    ephemeral: true,
    labels: runner.labels.map((name, index) => ({ id: index + 1, name, type: 'custom' })),
  };
}

function stepPayload(step: StepState) {
  return {
    name: step.name,
    status: step.status,
    conclusion: step.conclusion,
    number: step.number,
    started_at: instantOrNull(step.startedAtMs),
    completed_at: instantOrNull(step.completedAtMs),
  };
}

export function jobPayload(world: World, job: Job) {
  const { run } = job;
  const url = repositoryUrl(world, run.repository);
  const webUrl = `${WEB_URL}/${run.repository.owner.login}/${run.repository.name}`;
  return {
    id: job.id,
    run_id: run.id,
    workflow_name: run.workflowName,
    head_branch: run.branch,
    run_url: `${url}/actions/runs/${run.id}`,
    run_attempt: job.attempt,
    node_id: nodeId('CheckRun', job.id),
    head_sha: run.sha,
    url: `${url}/actions/jobs/${job.id}`,
    html_url: `${webUrl}/actions/runs/${run.id}/job/${job.id}`,
    status: job.status,
    conclusion: job.conclusion,
    created_at: instant(job.queuedAtMs),
    started_at: instant(job.assignedAtMs ?? job.queuedAtMs),
    completed_at: instantOrNull(job.completedAtMs),
    name: job.plan.name,
    steps: job.steps.map(stepPayload),
    check_run_url: `${url}/check-runs/${job.id}`,
    labels: job.plan.labels,
    runner_id: job.runner?.id ?? null,
    runner_name: job.runner?.name ?? null,
    runner_group_id: job.runner?.groupId ?? null,
    runner_group_name: job.runner === undefined ? null : GROUP_NAME,
  };
}

export function runPayload(world: World, run: Run) {
  const url = repositoryUrl(world, run.repository);
  const runUrl = `${url}/actions/runs/${run.id}`;
  const person = { name: 'Octo Cat', email: 'octocat@example.com' };
  const author = userPayload(world, run.repository.owner);
  return {
    id: run.id,
    name: run.workflowName,
    node_id: nodeId('WorkflowRun', run.id),
    head_branch: run.branch,
    head_sha: run.sha,
    path: run.path,
    display_title: run.workflowName,
    run_number: run.number,
    run_attempt: run.attempt,
    event: run.event,
    status: runStatus(run),
    conclusion: runConclusion(run),
    workflow_id: workflowId(run.repository, run.path),
    url: runUrl,
    html_url: `${WEB_URL}/${run.repository.owner.login}/${run.repository.name}/actions/runs/${run.id}`,
    pull_requests: [],
    created_at: instant(run.createdAtMs),
    updated_at: instant(Math.max(run.createdAtMs, ...run.jobs.map((j) => j.completedAtMs ?? 0))),
    run_started_at: instant(run.attemptStartedAtMs),
    actor: author,
    triggering_actor: author,
    jobs_url: `${runUrl}/jobs`,
    logs_url: `${runUrl}/logs`,
    check_suite_url: `${url}/check-suites/${run.id}`,
    artifacts_url: `${runUrl}/artifacts`,
    cancel_url: `${runUrl}/cancel`,
    rerun_url: `${runUrl}/rerun`,
    previous_attempt_url: run.attempt > 1 ? `${runUrl}/attempts/${run.attempt - 1}` : null,
    workflow_url: `${url}/actions/workflows/${workflowId(run.repository, run.path)}`,
    head_commit: {
      id: run.sha,
      tree_id: run.sha,
      message: 'Change something',
      timestamp: instant(run.createdAtMs),
      author: person,
      committer: person,
    },
    repository: minimalRepositoryPayload(world, run.repository),
    head_repository: minimalRepositoryPayload(world, run.repository),
  };
}

/** Stable, and another for each file of each repository. */
export function workflowId({ id }: Repository, path: string): number {
  return id + createHash('sha1').update(path).digest().readUIntBE(0, 5);
}

export function workflowPayload(
  world: World,
  repository: Repository,
  { path, name }: { readonly path: string; readonly name: string },
) {
  const id = workflowId(repository, path);
  const file = path.split('/').at(-1);
  const webUrl = `${WEB_URL}/${repository.owner.login}/${repository.name}`;
  return {
    ...{ id, node_id: nodeId('Workflow', id), name, path, state: 'active' },
    created_at: instant(repository.createdAtMs),
    updated_at: instant(repository.createdAtMs),
    url: `${repositoryUrl(world, repository)}/actions/workflows/${id}`,
    html_url: `${webUrl}/blob/main/${path}`,
    badge_url: `${webUrl}/workflows/${file}/badge.svg`,
  };
}

export function checkRunPayload(world: World, check: CheckRun) {
  const url = `${repositoryUrl(world, check.repository)}/check-runs/${check.id}`;
  return {
    id: check.id,
    head_sha: check.headSha,
    node_id: nodeId('CheckRun', check.id),
    external_id: check.externalId,
    url,
    html_url: `${WEB_URL}/${check.repository.owner.login}/${check.repository.name}/runs/${check.id}`,
    details_url: check.detailsUrl,
    status: check.status,
    conclusion: check.conclusion,
    started_at: instant(check.createdAtMs),
    completed_at: check.status === 'completed' ? instant(check.createdAtMs) : null,
    output: {
      ...check.output,
      text: null,
      annotations_count: 0,
      annotations_url: `${url}/annotations`,
    },
    name: check.name,
    check_suite: { id: check.id },
    app: appPayload(world),
    pull_requests: [],
  };
}

interface Heard {
  readonly job: Job;
  /** Whose App hears of it. */
  readonly installation: Installation;
}

/** The `workflow_job` event as it stands now: a later change does not change what was sent. */
export function workflowJobEvent(world: World, { job, installation }: Heard, action: JobAction) {
  const { repository } = job.run;
  return {
    action,
    workflow_job: jobPayload(world, job),
    repository: { ...repositoryPayload(world, repository), custom_properties: {} },
    ...(repository.owner.type === 'Organization'
      ? { organization: organizationPayload(world, repository.owner) }
      : {}),
    sender: userPayload(world, repository.owner),
    installation: {
      id: installation.id,
      node_id: nodeId('IntegrationInstallation', installation.id),
    },
  };
}
