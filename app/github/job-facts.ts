/**
 * From GitHub's words about a job to JobFacts: one mapping for the `workflow_job` event and for the
 * REST answer, which call the same things by the same names. Pure.
 * Source: docs.github.com, "Webhook events: workflow_job" and "REST: workflow jobs".
 */
import { z } from 'zod';
import { JobId } from '../../host-agent/protocol/ids.ts';
import type { JobFacts, JobOrigin } from '../records/records.ts';

const MAX_NAME_LENGTH = 500;

const Name = z.string().transform((text) => text.slice(0, MAX_NAME_LENGTH));
const Instant = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text));
const Id = z.int().min(1);

/** Unknown fields are dropped: what GitHub adds is no reason to turn a job away. */
export const GithubJob = z.object({
  id: Id,
  run_id: Id,
  head_sha: z.string().min(1).max(64),
  status: z.enum(['queued', 'in_progress', 'completed', 'waiting', 'requested', 'pending']),
  conclusion: z.string().max(32).nullish(),
  created_at: Instant.nullish(),
  started_at: Instant.nullish(),
  completed_at: Instant.nullish(),
  name: Name,
  workflow_name: Name.nullish(),
  labels: z.array(z.string().max(MAX_NAME_LENGTH)).max(100),
  runner_name: z.string().max(128).nullish(),
});
export type GithubJob = Readonly<z.infer<typeof GithubJob>>;

export const GithubRepository = z.object({
  name: z.string().min(1).max(100),
  owner: z.object({ login: z.string().min(1).max(100), type: z.string().max(32).nullish() }),
});
export type GithubRepository = Readonly<z.infer<typeof GithubRepository>>;

export const WorkflowJobEvent = z.object({
  action: z.string().max(32),
  workflow_job: GithubJob,
  repository: GithubRepository,
  organization: z.object({ login: z.string().max(100) }).nullish(),
  installation: z.object({ id: Id }).nullish(),
});
export type WorkflowJobEvent = Readonly<z.infer<typeof WorkflowJobEvent>>;

/** Undefined for an event of no installation: no runner can be minted for it. */
export function factsOfEvent(event: WorkflowJobEvent): JobFacts | undefined {
  if (event.installation == null) return undefined;
  const organization = event.organization != null;
  return factsOfJob(event.workflow_job, {
    installationId: event.installation.id,
    ...placeOf(event.repository, organization),
  });
}

export type JobPlace = Pick<JobOrigin, 'installationId' | 'owner' | 'repo' | 'scope'>;

/** Where runners for a repository's jobs are registered. */
export function placeOf(
  repository: GithubRepository,
  organization = false,
): Omit<JobPlace, 'installationId'> {
  const owned = organization || repository.owner.type === 'Organization';
  return {
    owner: repository.owner.login,
    repo: repository.name,
    scope: owned ? 'organization' : 'repository',
  };
}

export function factsOfJob(job: GithubJob, place: JobPlace): JobFacts {
  const { installationId, owner, repo, scope } = place;
  const createdAtMs = job.created_at ?? job.started_at ?? 0;
  return {
    id: JobId.parse(String(job.id)),
    origin: { installationId, owner, repo, scope, runId: job.run_id, headSha: job.head_sha },
    name: job.name,
    workflowName: job.workflow_name ?? '',
    labels: job.labels,
    status: statusOf(job.status),
    conclusion: job.conclusion ?? null,
    runnerName: job.runner_name || null,
    createdAtMs,
    // GitHub fills started_at in before the job has started.
    startedAtMs: hasStarted(job) ? (job.started_at ?? null) : null,
    completedAtMs: job.completed_at ?? null,
  };
}

function hasStarted({ status }: GithubJob): boolean {
  return status === 'in_progress' || status === 'completed';
}

/** What waits for an approval, a concurrency group or its turn cannot be given to a runner yet. */
function statusOf(status: GithubJob['status']): JobFacts['status'] {
  return status === 'requested' || status === 'pending' ? 'waiting' : status;
}
