/**
 * Telling a job's author what became of it: a check on the commit, where the App may write checks.
 * A notice must never stop the reconciler, and is given once however often it is asked for.
 * Source: docs.github.com, "REST API endpoints for check runs".
 */
import type { Octokit } from '@octokit/rest';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { JobNotices } from '../reconciler/ports.ts';
import type { JobRecord } from '../records/records.ts';
import type { GithubClient } from './client.ts';
import { GithubDeniedError } from './errors.ts';

const MAX_NAME_LENGTH = 200;
const CONFLICT = 409;

const CheckRuns = z.object({
  check_runs: z.array(z.object({ external_id: z.string().nullish() })),
});

export interface GithubNoticesOptions {
  readonly client: GithubClient;
  /** Also cancels the run of a refused job, which would stay queued for a day. */
  readonly cancelRefusedRuns: boolean;
  readonly logger: Logger;
}

interface Notice {
  readonly job: JobRecord;
  readonly title: string;
  readonly summary: string;
}

/** Rejects when GitHub does not answer: the next tick may ask again. */
export function createGithubNotices(options: GithubNoticesOptions): JobNotices {
  return {
    refused: async (job, why) => {
      const title = 'This job cannot run on architect';
      await writeCheck(options, { job, title, summary: why });
      if (options.cancelRefusedRuns) await cancelRun(options, job);
    },
    lost: (job, cause) =>
      writeCheck(options, { job, title: 'This job lost its machine', summary: lossOf(job, cause) }),
  };
}

/** What happened, what it cost, and what comes next. */
function lossOf({ startedAtMs, lostAtMs, class: size, rerun }: JobRecord, cause: string): string {
  const parts = [cause];
  if (startedAtMs !== null && lostAtMs !== null) {
    const minutes = Math.max(1, Math.round((lostAtMs - startedAtMs) / 60_000));
    const gib = Math.round(size.memoryMib / 1024);
    parts.push(`It had run for ${minutes} min on ${size.vcpus} vCPUs and ${gib} GiB of memory.`);
  }
  if (rerun === 'wanted') parts.push('It is run again as soon as its workflow run has ended.');
  return parts.join(' ');
}

async function writeCheck(options: GithubNoticesOptions, notice: Notice): Promise<void> {
  const { client, logger } = options;
  const { job } = notice;
  const { installationId } = job.origin;
  if (!(await client.may(installationId, 'checks', 'write'))) {
    logger.debug({ jobId: job.id }, 'no check: the App may not write checks');
    return;
  }
  await client.asInstallation(installationId, {
    what: `write a check on ${job.origin.owner}/${job.origin.repo}`,
    run: (octokit) => ensureCheck(octokit, notice),
  });
}

async function ensureCheck(octokit: Octokit, { job, title, summary }: Notice): Promise<void> {
  const { owner, repo, headSha } = job.origin;
  const name = `architect: ${job.name}`.slice(0, MAX_NAME_LENGTH);
  const listed = await octokit.rest.checks.listForRef({
    owner,
    repo,
    ref: headSha,
    check_name: name,
    per_page: 100,
  });
  const { check_runs: existing } = CheckRuns.parse(listed.data);
  if (existing.some((check) => check.external_id === job.id)) return;
  await octokit.rest.checks.create({
    owner,
    repo,
    name,
    head_sha: headSha,
    external_id: job.id,
    status: 'completed',
    conclusion: 'failure',
    output: { title, summary: `${summary}\n\nJob ${job.id}, labels: ${job.labels.join(', ')}` },
  });
}

async function cancelRun({ client, logger }: GithubNoticesOptions, job: JobRecord): Promise<void> {
  const { installationId, owner, repo, runId } = job.origin;
  if (!(await client.may(installationId, 'actions', 'write'))) {
    logger.warn({ jobId: job.id, runId }, 'cannot cancel the run: the App may not write actions');
    return;
  }
  try {
    await client.asInstallation(installationId, {
      what: `cancel run ${runId} of ${owner}/${repo}`,
      run: (octokit) => octokit.rest.actions.cancelWorkflowRun({ owner, repo, run_id: runId }),
    });
  } catch (error) {
    // It has ended already.
    if (!(error instanceof GithubDeniedError && error.status === CONFLICT)) throw error;
  }
}
