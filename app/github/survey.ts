/**
 * What GitHub shows of itself when it is asked: installations, their repositories, and the open jobs
 * and the runners of each. Every list has a bounded number of pages; whether it is whole is said.
 */
import type { Octokit } from '@octokit/rest';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { JobFacts } from '../records/records.ts';
import type { AppClient, GithubClient } from './client.ts';
import { factsOfJob, GithubJob, GithubRepository, type JobPlace, placeOf } from './job-facts.ts';
import { readPages } from './pages.ts';

const MAX_INSTALLATION_PAGES = 10;
const MAX_REPOSITORY_PAGES = 50;
/** GitHub itself shows a thousand filtered runs at most. */
const MAX_RUN_PAGES = 10;
const MAX_JOB_PAGES = 10;
/** A run that waits for an approval may have other jobs that do not. */
const OPEN_RUN_STATES = ['queued', 'in_progress', 'waiting'] as const;

const GithubInstallation = z.object({
  id: z.int(),
  suspended_at: z.string().nullish(),
  account: z.object({ login: z.string().max(100), type: z.string().max(32).nullish() }).nullish(),
});
const Installations = z.array(GithubInstallation);
const Repositories = z.object({ repositories: z.array(GithubRepository) });
const Runs = z.object({ workflow_runs: z.array(z.object({ id: z.int() })) });
/** Jobs that cannot be understood are passed over: one odd job must not hide the others. */
const Jobs = z.object({ jobs: z.array(z.unknown()) });

export interface Installation {
  readonly id: number;
  readonly suspended: boolean;
  /** Undefined: a user's, or not said; runners belong to its repositories then. */
  readonly organization: string | undefined;
}

export interface Listed<T> {
  readonly items: readonly T[];
  /** False: there may be more than these. */
  readonly complete: boolean;
}

/** Of every App. One that cannot be asked is logged and left out; rejects where that is each of them. */
export async function listInstallations(
  { apps }: Pick<GithubClient, 'apps'>,
  logger: Logger,
): Promise<Listed<Installation>> {
  const answers = await Promise.allSettled(apps.map(listOfApp));
  const failed = answers.filter((answer) => answer.status === 'rejected');
  const lists = answers.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  if (lists.length === 0) throw failed[0]?.reason;
  for (const { reason: err } of failed) logger.warn({ err }, 'an App could not be polled');
  return {
    items: lists.flatMap(({ items }) => items),
    complete: failed.length === 0 && lists.every(({ complete }) => complete),
  };
}

async function listOfApp(app: AppClient): Promise<Listed<Installation>> {
  const { items, complete } = await app.asApp({
    what: `list the installations of App ${app.appId}`,
    run: (octokit) =>
      readPages(MAX_INSTALLATION_PAGES, async (page) =>
        Installations.parse((await octokit.rest.apps.listInstallations(page)).data),
      ),
  });
  return { items: items.map(installationOf), complete };
}

function installationOf(given: z.infer<typeof GithubInstallation>): Installation {
  const organization = given.account?.type === 'Organization' ? given.account.login : undefined;
  return { id: given.id, suspended: given.suspended_at != null, organization };
}

export async function listRepositories(
  client: GithubClient,
  installationId: number,
): Promise<Listed<JobPlace>> {
  const { items, complete } = await client.asInstallation(installationId, {
    what: `list the repositories of installation ${installationId}`,
    run: (octokit) =>
      readPages(MAX_REPOSITORY_PAGES, async (page) => {
        const { data } = await octokit.rest.apps.listReposAccessibleToInstallation(page);
        return Repositories.parse(data).repositories;
      }),
  });
  return { items: items.map((one) => ({ installationId, ...placeOf(one) })), complete };
}

export interface OpenJobsQuestion {
  readonly client: GithubClient;
  readonly place: JobPlace;
  /** Asked before each run's jobs are: false ends the list there. Unset: all are read. */
  readonly goOn?: () => boolean;
}

/** Jobs of the repository that are not over. Rejects when GitHub does not answer. */
export function listOpenJobs({
  client,
  place,
  goOn = () => true,
}: OpenJobsQuestion): Promise<Listed<JobFacts>> {
  const { owner, repo, installationId } = place;
  return client.asInstallation(installationId, {
    what: `list the open jobs of ${owner}/${repo}`,
    run: async (octokit) => {
      const runs = await listOpenRuns(octokit, place);
      const items: JobFacts[] = [];
      let complete = runs.complete;
      for (const runId of runs.items) {
        if (!goOn()) return { items, complete: false };
        const jobs = await listRun(octokit, place, runId);
        items.push(...jobs.items);
        complete &&= jobs.complete;
      }
      return { items, complete };
    },
  });
}

async function listOpenRuns(octokit: Octokit, { owner, repo }: JobPlace): Promise<Listed<number>> {
  const runIds = new Set<number>();
  let complete = true;
  for (const status of OPEN_RUN_STATES) {
    const runs = await readPages(MAX_RUN_PAGES, async (page) => {
      const request = { owner, repo, status, ...page };
      const { data } = await octokit.rest.actions.listWorkflowRunsForRepo(request);
      return Runs.parse(data).workflow_runs;
    });
    for (const { id } of runs.items) runIds.add(id);
    complete &&= runs.complete;
  }
  return { items: [...runIds], complete };
}

async function listRun(
  octokit: Octokit,
  place: JobPlace,
  runId: number,
): Promise<Listed<JobFacts>> {
  const { owner, repo } = place;
  const { items, complete } = await readPages(MAX_JOB_PAGES, async (page) => {
    const request = { owner, repo, run_id: runId, ...page };
    const { data } = await octokit.rest.actions.listJobsForWorkflowRun(request);
    return Jobs.parse(data).jobs;
  });
  const open = items
    .flatMap((job) => GithubJob.safeParse(job).data ?? [])
    .map((job) => factsOfJob(job, place))
    .filter(({ status }) => status !== 'completed');
  return { items: open, complete };
}
