/**
 * Runners on GitHub: registered just in time for one job, removed unless they work.
 * Source: docs.github.com, "REST API endpoints for self-hosted runners".
 */
import type { Octokit } from '@octokit/rest';
import { z } from 'zod';
import { refused } from '../../host-agent/protocol/errors.ts';
import type { ListedRunner } from '../intake/poll/judge-runners.ts';
import type { Removal, Runners } from '../reconciler/ports.ts';
import type { GithubClient } from './client.ts';
import { GithubDeniedError, GithubPacedError, RunnerNameTakenError } from './errors.ts';
import type { JobPlace } from './job-facts.ts';
import { readPages } from './pages.ts';
import { pointsOf, SpentPoints } from './spent-points.ts';
import type { Listed } from './survey.ts';

const WORK_FOLDER = '_work';
const DEFAULT_RUNNER_GROUP = 1;
const CONFLICT = 409;
const FORBIDDEN = 403;
const NOT_FOUND = 404;
const UNPROCESSABLE = 422;
/**
 * Of one App, in any minute that ends now. A registration costs 5 of GitHub's 900 points a minute, and
 * 1,500 of them are allowed in five: what is left is for polling, removals and tokens.
 */
export const MAX_MINTS_PER_MINUTE = 150;
/** Removals may take what registrations leave of these; as many points go to each. */
export const MAX_WRITES_PER_MINUTE = 160;
const POINTS_PER_WRITE = pointsOf('POST');
/** Of GitHub's 900: a few are left for what nobody plans, as new tokens. */
const MAX_POINTS_PER_MINUTE = 880;
const MAX_RUNNER_PAGES = 100;

const Minted = z.object({
  runner: z.object({ id: z.int().min(1) }),
  encoded_jit_config: z.string().min(1),
});
const RunnerList = z.object({
  runners: z.array(
    z.object({
      id: z.int(),
      name: z.string(),
      busy: z.boolean(),
      status: z.string().max(32).default('offline'),
    }),
  ),
});

export interface GithubRunnersOptions {
  readonly client: GithubClient;
  /** The runner group that new runners join; GitHub's default group is 1. */
  readonly runnerGroupId?: number;
  readonly now?: () => number;
}

type MintRequest = Parameters<Runners['mint']>[0];

export function createGithubRunners(options: GithubRunnersOptions): Runners {
  const { client, runnerGroupId = DEFAULT_RUNNER_GROUP, now = Date.now } = options;
  const mint = (request: MintRequest) =>
    client.asInstallation(request.origin.installationId, {
      what: `register a runner with ${describePlace(request.origin)}`,
      run: (octokit) => mintRunner(octokit, request, runnerGroupId),
    });
  const registrations = new SpentPoints();
  const writes = new SpentPoints();
  /** What polling took of the minute, a burst of registrations cannot have. */
  const maxWrites = () => {
    const left = MAX_POINTS_PER_MINUTE - client.otherPoints();
    return Math.min(MAX_WRITES_PER_MINUTE, Math.floor(left / POINTS_PER_WRITE));
  };
  const take = () =>
    writes.lastMinute(now()) < maxWrites() &&
    registrations.take(1, MAX_MINTS_PER_MINUTE, now()) &&
    writes.take(1, MAX_WRITES_PER_MINUTE, now());
  return {
    mayMint: (installationId) => {
      if (client.isClosed(installationId)) return false;
      const may = take();
      if (!may) client.leaveRoom();
      return may;
    },
    mint: async (request) => {
      try {
        return await mint(request);
      } catch (error) {
        if (isDenied(error, UNPROCESSABLE)) return refusal(request);
        if (!isDenied(error, CONFLICT)) throw error;
      } finally {
        registrations.renew(now());
        writes.renew(now());
      }
      await freeName(client, request);
      return mint(request);
    },
    remove: async (origin, runnerId) => {
      if (!writes.take(1, maxWrites(), now()))
        throw new GithubPacedError(`Runner ${runnerId} is removed later, at GitHub's pace.`);
      try {
        return await removeRunner(client, origin, runnerId);
      } finally {
        writes.renew(now());
      }
    },
  };
}

async function mintRunner(octokit: Octokit, request: MintRequest, runnerGroupId: number) {
  const { route, place } = runnersOf(request.origin);
  const { data } = await octokit.request(`POST ${route}/generate-jitconfig`, {
    ...place,
    name: request.runnerName,
    runner_group_id: runnerGroupId,
    labels: [...request.labels],
    work_folder: WORK_FOLDER,
  });
  const minted = Minted.parse(data);
  const { runner, encoded_jit_config: jitConfig } = minted;
  return { kind: 'minted' as const, runnerId: runner.id, jitConfig };
}

function refusal({ labels }: MintRequest) {
  return refused(`GitHub takes no runner with the labels ${labels.join(', ')}.`.slice(0, 500));
}

/** Every runner that is registered with the organisation, or the repository that none owns. */
export async function listRunners(
  client: GithubClient,
  place: JobPlace,
): Promise<Listed<ListedRunner>> {
  const { items, complete } = await client.asInstallation(place.installationId, {
    what: `list the runners of ${describePlace(place)}`,
    run: (octokit) =>
      readPages(MAX_RUNNER_PAGES, async (page) => {
        const { route, place: names } = runnersOf(place);
        const answer = await octokit.request(`GET ${route}`, { ...names, ...page });
        return RunnerList.parse(answer.data).runners;
      }),
  });
  return {
    items: items.map(({ status, ...runner }) => ({ ...runner, online: status === 'online' })),
    complete,
  };
}

/** Removes the idle runner that has the name; one that works keeps it. */
async function freeName(client: GithubClient, request: MintRequest): Promise<void> {
  const { origin, runnerName } = request;
  const list = await client.asInstallation(origin.installationId, {
    what: `find the runner ${runnerName}`,
    run: async (octokit) => {
      const { route, place } = runnersOf(origin);
      const answer = await octokit.request(`GET ${route}`, { ...place, name: runnerName });
      return RunnerList.parse(answer.data);
    },
  });
  const holder = list.runners.find(({ name }) => name === runnerName);
  if (holder === undefined) return;
  const outcome = holder.busy ? 'busy' : await removeRunner(client, origin, holder.id);
  if (outcome !== 'busy') return;
  throw new RunnerNameTakenError(`A runner named ${runnerName} works on a job.`, {
    context: { runnerName, runnerId: holder.id },
  });
}

async function removeRunner(
  client: GithubClient,
  origin: JobPlace,
  runnerId: number,
): Promise<Removal> {
  const { route, place } = runnersOf(origin);
  try {
    await client.asInstallation(origin.installationId, {
      what: `remove runner ${runnerId} from ${describePlace(origin)}`,
      run: (octokit) =>
        octokit.request(`DELETE ${route}/{runner_id}`, { ...place, runner_id: runnerId }),
    });
    return 'removed';
  } catch (error) {
    if (isDenied(error, NOT_FOUND)) return 'absent';
    if (isDenied(error, UNPROCESSABLE)) return 'busy';
    if (isDenied(error, FORBIDDEN)) return 'denied';
    throw error;
  }
}

/** Names go into the path as parameters, so that Octokit encodes them. */
function runnersOf({ scope, owner, repo }: JobPlace) {
  return scope === 'organization'
    ? { route: '/orgs/{org}/actions/runners', place: { org: owner } }
    : { route: '/repos/{owner}/{repo}/actions/runners', place: { owner, repo } };
}

function describePlace({ scope, owner, repo }: JobPlace): string {
  return scope === 'organization' ? owner : `${owner}/${repo}`;
}

function isDenied(error: unknown, status: number): boolean {
  return error instanceof GithubDeniedError && error.status === status;
}
