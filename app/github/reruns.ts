/**
 * Running lost jobs again. Source: docs.github.com, "REST API endpoints for workflow runs",
 * "Re-run a job from a workflow run", "Re-run failed jobs from a workflow run".
 */
import { z } from 'zod';
import { JobId } from '../../host-agent/protocol/ids.ts';
import type { RerunPlan, RunLook } from '../intake/poll/plan-rerun.ts';
import type { JobOrigin } from '../records/records.ts';
import type { GithubClient } from './client.ts';
import { GithubDeniedError } from './errors.ts';
import { readPages } from './pages.ts';

const MAX_JOB_PAGES = 10;
const FORBIDDEN = 403;
const NOT_FOUND = 404;

const Run = z.object({ status: z.string().max(32).nullable(), run_attempt: z.int().min(1) });
const Jobs = z.object({
  jobs: z.array(z.object({ id: z.int(), labels: z.array(z.string()).default([]) })),
});

/** Undefined for a run that GitHub does not know. */
export async function readRun(
  client: GithubClient,
  { installationId, owner, repo, runId }: JobOrigin,
): Promise<RunLook | undefined> {
  const place = { owner, repo, run_id: runId };
  try {
    return await client.asInstallation(installationId, {
      what: `read run ${runId} of ${owner}/${repo}`,
      run: async (octokit) => {
        const run = Run.parse((await octokit.rest.actions.getWorkflowRun(place)).data);
        const { items } = await readPages(MAX_JOB_PAGES, async (page) => {
          const request = { ...place, ...page };
          const { data } = await octokit.rest.actions.listJobsForWorkflowRun(request);
          return Jobs.parse(data).jobs;
        });
        const jobs = items.map(({ id, labels }) => ({ id: JobId.parse(String(id)), labels }));
        return { completed: run.status === 'completed', attempt: run.run_attempt, jobs };
      },
    });
  } catch (error) {
    if (error instanceof GithubDeniedError && error.status === NOT_FOUND) return undefined;
    throw error;
  }
}

/**
 * `later`: GitHub does not take it now, as while the run goes on; `denied`: the App may not write
 * actions there.
 */
export async function askRerun(
  client: GithubClient,
  { installationId, owner, repo, runId }: JobOrigin,
  plan: Extract<RerunPlan, { readonly kind: 'job' | 'failed' }>,
): Promise<'asked' | 'later' | 'denied'> {
  if (!(await client.may(installationId, 'actions', 'write'))) return 'denied';
  try {
    await client.asInstallation(installationId, {
      what: `run jobs of run ${runId} of ${owner}/${repo} again`,
      run: async (octokit) => {
        const { actions } = octokit.rest;
        if (plan.kind === 'failed')
          await actions.reRunWorkflowFailedJobs({ owner, repo, run_id: runId });
        else await actions.reRunJobForWorkflowRun({ owner, repo, job_id: Number(plan.jobId) });
      },
    });
    return 'asked';
  } catch (error) {
    if (error instanceof GithubDeniedError && error.status === FORBIDDEN) return 'later';
    throw error;
  }
}
