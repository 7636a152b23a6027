/** GitHub's word on jobs, asked for: one job, or all that are open in any installation. */
import type { Logger } from 'pino';
import type { JobSource } from '../reconciler/ports.ts';
import type { JobFacts } from '../records/records.ts';
import type { GithubClient } from './client.ts';
import { GithubDeniedError } from './errors.ts';
import { factsOfJob, GithubJob, type JobPlace } from './job-facts.ts';
import { listInstallations, listOpenJobs, listRepositories } from './survey.ts';

const REPOSITORIES_AT_ONCE = 6;
const NOT_FOUND = 404;

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
      for (const { id, suspended } of (await listInstallations(client, logger)).items) {
        if (suspended) continue;
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

interface Listing extends GithubJobSourceOptions {
  readonly installationId: number;
}

async function listInstallation(listing: Listing): Promise<JobFacts[]> {
  const { client, installationId } = listing;
  const { items: places } = await listRepositories(client, installationId);
  const facts: JobFacts[] = [];
  for (let start = 0; start < places.length; start += REPOSITORIES_AT_ONCE) {
    const some = places.slice(start, start + REPOSITORIES_AT_ONCE);
    const found = await Promise.all(some.map((place) => listPlace(listing, place)));
    facts.push(...found.flat());
  }
  return facts;
}

async function listPlace(
  { client, logger }: Listing,
  place: JobPlace,
): Promise<readonly JobFacts[]> {
  const { owner, repo } = place;
  try {
    return (await listOpenJobs({ client, place })).items;
  } catch (err) {
    logger.warn({ err, owner, repo }, 'open jobs of a repository are not known');
    return [];
  }
}
