/**
 * Where the runners of a job's place are registered, and as whom GitHub is asked about them: with the
 * enterprise, as the holder of the operator's token; else with the organisation, or with a repository
 * that none owns, as the App. GitHub takes no App for an enterprise's runners.
 * Source: docs.github.com, "REST API endpoints for self-hosted runners".
 */
import type { JobOrigin } from '../records/records.ts';
import type { GithubCall, GithubClient, TokenClient } from './client.ts';
import type { JobPlace } from './job-facts.ts';

/** GitHub's default group, of an organisation and of an enterprise. */
export const DEFAULT_RUNNER_GROUP = 1;

export interface Enterprise {
  readonly slug: string;
  /** Whose jobs' runners are registered with it, by login. */
  readonly organizations: readonly string[];
  readonly runnerGroupId: number;
}

export interface RegistryOptions {
  readonly client: GithubClient;
  /** The runner group that new runners join, where no enterprise's is meant. */
  readonly runnerGroupId?: number;
  /** Unset: no runner is registered with an enterprise. */
  readonly enterprise?: (Enterprise & { readonly client: TokenClient }) | undefined;
}

export interface RunnerRegistry {
  /** For a message, and one for all that register in the same place. */
  readonly name: string;
  /** Names go into the path as parameters, so that Octokit encodes them. */
  readonly route: string;
  readonly names: Readonly<Record<string, string>>;
  readonly runnerGroupId: number;
  call<T>(call: GithubCall<T>): Promise<T>;
  mayPoll(): boolean;
}

export function registryOf(options: RegistryOptions, place: JobPlace): RunnerRegistry {
  const { client, runnerGroupId = DEFAULT_RUNNER_GROUP } = options;
  const { installationId, owner, repo, scope } = place;
  const enterprise = enterpriseOf(options, place);
  if (enterprise !== undefined) {
    const { slug } = enterprise;
    return {
      name: `the enterprise ${slug}`,
      route: '/enterprises/{enterprise}/actions/runners',
      names: { enterprise: slug },
      runnerGroupId: enterprise.runnerGroupId,
      call: (call) => enterprise.client.withToken(call),
      mayPoll: () => enterprise.client.mayPoll(),
    };
  }
  const asApp = {
    runnerGroupId,
    call: <T>(call: GithubCall<T>) => client.asInstallation(installationId, call),
    mayPoll: () => client.mayPoll(installationId),
  };
  return scope === 'organization'
    ? { ...asApp, name: owner, route: '/orgs/{org}/actions/runners', names: { org: owner } }
    : {
        ...asApp,
        name: `${owner}/${repo}`,
        route: '/repos/{owner}/{repo}/actions/runners',
        names: { owner, repo },
      };
}

/** Undefined: the owner's runners are registered by the App. */
export function enterpriseOf(
  { enterprise }: RegistryOptions,
  { owner }: Pick<JobOrigin, 'owner'>,
): RegistryOptions['enterprise'] {
  const login = owner.toLowerCase();
  const isIts = enterprise?.organizations.some((one) => one.toLowerCase() === login);
  return isIts === true ? enterprise : undefined;
}

/** What the limits of whoever registers a place's runners have room for. */
export interface RegistryBudget {
  otherPoints(): number;
  leaveRoom(): void;
}

export function budgetOf(
  options: RegistryOptions,
  place: Pick<JobOrigin, 'owner' | 'installationId'>,
): RegistryBudget {
  const { client } = options;
  return (
    enterpriseOf(options, place)?.client ?? {
      otherPoints: () => client.otherPoints(place.installationId),
      leaveRoom: () => client.leaveRoom(place.installationId),
    }
  );
}
