/**
 * GitHub's word on jobs, asked for: one job, or all that are open. The second walks installations,
 * repositories, runs and jobs, each in a bounded number of pages.
 */
import type { Octokit } from '@octokit/rest';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { JobSource } from '../reconciler/ports.ts';
import type { JobFacts } from '../records/records.ts';
import type { GithubClient } from './client.ts';
import { GithubDeniedError } from './errors.ts';
import { factsOfJob, GithubJob, GithubRepository, type JobPlace, placeOf } from './job-facts.ts';
import { readPages } from './pages.ts';

const MAX_INSTALLATION_PAGES = 10;
const MAX_REPOSITORY_PAGES = 10;
const MAX_RUN_PAGES = 5;
const MAX_JOB_PAGES = 10;
const REPOSITORIES_AT_ONCE = 6;
const OPEN_RUN_STATES = ['queued', 'in_progress'] as const;
const NOT_FOUND = 404;

const Installation = z.object({ id: z.int(), suspended_at: z.string().nullish() });
const Installations = z.array(Installation);
const Repositories = z.object({ repositories: z.array(GithubRepository) });
const Runs = z.object({ workflow_runs: z.array(z.object({ id: z.int() })) });
/** Jobs that cannot be understood are passed over: one odd job must not hide the others. */
const Jobs = z.object({ jobs: z.array(z.unknown()) });

export interface GithubJobSourceOptions {
  readonly client: GithubClient;
  readonly logger: Logger;
}

/**
 * `listOpenJobs` rejects when the installations cannot be listed; an installation or repository
 * that does not answer is logged and left out, so the answer is never proof that a job is gone.
 */
export function createGithubJobSource({ client, logger }: GithubJobSourceOptions): JobSource {
  return {
    readJob: async (origin, id) => {
      const { installationId, owner, repo } = origin;
      try {
        const job = await client.asInstallation(installationId, {
          what: `read job ${id} of ${owner}/${repo}`,
          run: async (octokit) => {
            const place = { owner, repo, job_id: Number(id) };
            return GithubJob.parse((await octokit.rest.actions.getJobForWorkflowRun(place)).data);
          },
        });
        return factsOfJob(job, origin);
      } catch (error) {
        if (error instanceof GithubDeniedError && error.status === NOT_FOUND) return undefined;
        throw error;
      }
    },
    listOpenJobs: async () => {
      const facts: JobFacts[] = [];
      for (const { id } of await listInstallations(client)) {
        try {
          facts.push(...(await listInstallation({ client, logger, installationId: id })));
        } catch (err) {
          logger.warn({ err, installationId: id }, 'open jobs of an installation are not known');
        }
      }
      return facts;
    },
  };
}

async function listInstallations(client: GithubClient) {
  const all = await client.asApp({
    what: "list the App's installations",
    run: (octokit) =>
      readPages(MAX_INSTALLATION_PAGES, async (page) =>
        Installations.parse((await octokit.rest.apps.listInstallations(page)).data),
      ),
  });
  return all.filter((installation) => installation.suspended_at == null);
}

interface Listing extends GithubJobSourceOptions {
  readonly installationId: number;
}

async function listInstallation(listing: Listing): Promise<JobFacts[]> {
  const { client, installationId } = listing;
  const repositories = await client.asInstallation(installationId, {
    what: `list the repositories of installation ${installationId}`,
    run: (octokit) =>
      readPages(MAX_REPOSITORY_PAGES, async (page) => {
        const { data } = await octokit.rest.apps.listReposAccessibleToInstallation(page);
        return Repositories.parse(data).repositories;
      }),
  });
  const facts: JobFacts[] = [];
  for (let start = 0; start < repositories.length; start += REPOSITORIES_AT_ONCE) {
    const some = repositories.slice(start, start + REPOSITORIES_AT_ONCE);
    const found = await Promise.all(
      some.map((repository) => listRepository(listing, { installationId, ...placeOf(repository) })),
    );
    facts.push(...found.flat());
  }
  return facts;
}

async function listRepository(listing: Listing, place: JobPlace): Promise<JobFacts[]> {
  const { client, logger, installationId } = listing;
  const { owner, repo } = place;
  try {
    return await client.asInstallation(installationId, {
      what: `list the open jobs of ${owner}/${repo}`,
      run: async (octokit) => {
        const facts: JobFacts[] = [];
        for (const runId of await listOpenRuns(octokit, place)) {
          facts.push(...(await listRun(octokit, place, runId)));
        }
        return facts;
      },
    });
  } catch (err) {
    logger.warn({ err, owner, repo }, 'open jobs of a repository are not known');
    return [];
  }
}

async function listOpenRuns(octokit: Octokit, { owner, repo }: JobPlace): Promise<Set<number>> {
  const runIds = new Set<number>();
  for (const status of OPEN_RUN_STATES) {
    const runs = await readPages(MAX_RUN_PAGES, async (page) => {
      const request = { owner, repo, status, ...page };
      const { data } = await octokit.rest.actions.listWorkflowRunsForRepo(request);
      return Runs.parse(data).workflow_runs;
    });
    for (const { id } of runs) runIds.add(id);
  }
  return runIds;
}

async function listRun(octokit: Octokit, place: JobPlace, runId: number): Promise<JobFacts[]> {
  const { owner, repo } = place;
  const jobs = await readPages(MAX_JOB_PAGES, async (page) => {
    const request = { owner, repo, run_id: runId, ...page };
    const { data } = await octokit.rest.actions.listJobsForWorkflowRun(request);
    return Jobs.parse(data).jobs;
  });
  return jobs
    .flatMap((job) => GithubJob.safeParse(job).data ?? [])
    .map((job) => factsOfJob(job, place))
    .filter(({ status }) => status !== 'completed');
}
