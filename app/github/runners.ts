/**
 * Runners on GitHub: registered just in time for one job, removed unless they work.
 * Source: docs.github.com, "REST API endpoints for self-hosted runners".
 */
import type { Octokit } from '@octokit/rest';
import { z } from 'zod';
import { refused } from '../../host-agent/protocol/errors.ts';
import type { ListedRunner } from '../intake/poll/judge-runners.ts';
import type { Removal, Runners } from '../reconciler/ports.ts';
import { GithubDeniedError, GithubPacedError, RunnerNameTakenError } from './errors.ts';
import type { JobPlace } from './job-facts.ts';
import { readPages } from './pages.ts';
import {
  budgetOf,
  enterpriseOf,
  type RegistryBudget,
  type RegistryOptions,
  type RunnerRegistry,
  registryOf,
} from './runner-registry.ts';
import { pointsOf, SpentPoints } from './spent-points.ts';
import type { Listed } from './survey.ts';

const WORK_FOLDER = '_work';
const CONFLICT = 409;
const FORBIDDEN = 403;
const NOT_FOUND = 404;
const UNPROCESSABLE = 422;
/**
 * Of one App or token, in any minute that ends now. A registration costs 5 of GitHub's 900 points a minute, and
 * 1,500 of them are allowed in five: what is left is for polling, removals and tokens.
 */
export const MAX_MINTS_PER_MINUTE = 150;
/** Removals may take what registrations leave of these; as many points go to each. */
export const MAX_WRITES_PER_MINUTE = 160;
const POINTS_PER_WRITE = pointsOf('POST');
/** Of GitHub's 900: a few are left for what nobody plans, as new tokens. */
const MAX_PLANNED_POINTS = 880;
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

export interface GithubRunnersOptions extends RegistryOptions {
  readonly now?: () => number;
}

export interface GithubRunners extends Runners {
  /** Every runner that is registered where those of the place are. */
  list(place: JobPlace): Promise<Listed<ListedRunner>>;
  /** Whether the limits have room for such a list. */
  mayList(place: JobPlace): boolean;
  /** The same for all places whose runners are registered together. */
  registryKey(place: JobPlace): string;
}

type PayingPlace = Pick<JobPlace, 'installationId' | 'owner'>;
type MintRequest = Parameters<Runners['mint']>[0];

export function createGithubRunners(options: GithubRunnersOptions): GithubRunners {
  const { now = Date.now } = options;
  const registry = (place: JobPlace) => registryOf(options, place);
  const paces = new Map<number | 'token', WritePace>();
  const paceOf = (payer: number | 'token', place: PayingPlace) => {
    const pace = paces.get(payer) ?? new WritePace(budgetOf(options, place), now);
    paces.set(payer, pace);
    return pace;
  };
  return {
    mayMint: (place) => {
      const payer = payerOf(options, place);
      return payer !== undefined && !isClosed(options, place) && paceOf(payer, place).takeMint();
    },
    mint: async (request) => {
      const { origin } = request;
      const payer = payerOf(options, origin);
      try {
        return await mint(registry(origin), request);
      } finally {
        if (payer !== undefined) paceOf(payer, origin).mintArrived();
      }
    },
    remove: async (place, runnerId) => {
      const payer = enterpriseOf(options, place)
        ? 'token'
        : await options.client.appOf(place.installationId);
      // Of no App of ours (any more): nothing will be sent.
      const pace = payer === undefined ? undefined : paceOf(payer, place);
      if (pace?.take() === false)
        throw new GithubPacedError(`Runner ${runnerId} is removed later, at GitHub's pace.`);
      try {
        return await removeRunner(registry(place), runnerId);
      } finally {
        pace?.arrived();
      }
    },
    list: (place) => listRunners(registry(place)),
    mayList: (place) => registry(place).mayPoll(),
    registryKey: (place) => registry(place).name.toLowerCase(),
  };
}

/** What one App, or one token, registers and removes in a minute. */
class WritePace {
  readonly #registrations = new SpentPoints();
  readonly #writes = new SpentPoints();
  readonly #budget: RegistryBudget;
  readonly #now: () => number;

  constructor(budget: RegistryBudget, now: () => number) {
    this.#budget = budget;
    this.#now = now;
  }

  takeMint(): boolean {
    const nowMs = this.#now();
    const may =
      this.#writes.lastMinute(nowMs) < this.#maxWrites() &&
      this.#registrations.take(1, MAX_MINTS_PER_MINUTE, nowMs) &&
      this.take();
    if (!may) this.#budget.leaveRoom();
    return may;
  }

  take(): boolean {
    return this.#writes.take(1, this.#maxWrites(), this.#now());
  }

  /** What was taken has been sent: only now does GitHub surely count it. */
  mintArrived(): void {
    this.#registrations.renew(this.#now());
    this.arrived();
  }

  arrived(): void {
    this.#writes.renew(this.#now());
  }

  /** What polling took of the minute, a burst of registrations cannot have. */
  #maxWrites(): number {
    const left = MAX_PLANNED_POINTS - this.#budget.otherPoints();
    return Math.min(MAX_WRITES_PER_MINUTE, Math.floor(left / POINTS_PER_WRITE));
  }
}

/** Whose limits a registration counts for; undefined: that is not known, or nobody's. */
function payerOf(options: GithubRunnersOptions, place: PayingPlace): number | 'token' | undefined {
  if (enterpriseOf(options, place) !== undefined) return 'token';
  return options.client.knownAppOf(place.installationId);
}

function isClosed(options: GithubRunnersOptions, place: PayingPlace): boolean {
  const enterprise = enterpriseOf(options, place);
  return enterprise === undefined
    ? options.client.isClosed(place.installationId)
    : enterprise.client.isClosed();
}

async function mint(registry: RunnerRegistry, request: MintRequest) {
  const register = () =>
    registry.call({
      what: `register a runner with ${registry.name}`,
      run: (octokit) => mintRunner(octokit, registry, request),
    });
  try {
    return await register();
  } catch (error) {
    if (isDenied(error, UNPROCESSABLE)) return refusal(request);
    if (!isDenied(error, CONFLICT)) throw error;
  }
  await freeName(registry, request);
  return register();
}

async function mintRunner(
  octokit: Octokit,
  { route, names, runnerGroupId }: RunnerRegistry,
  request: MintRequest,
) {
  const { data } = await octokit.request(`POST ${route}/generate-jitconfig`, {
    ...names,
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

async function listRunners({
  name,
  route,
  names,
  call,
}: RunnerRegistry): Promise<Listed<ListedRunner>> {
  const { items, complete } = await call({
    what: `list the runners of ${name}`,
    run: (octokit) =>
      readPages(MAX_RUNNER_PAGES, async (page) => {
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
async function freeName(registry: RunnerRegistry, { runnerName }: MintRequest): Promise<void> {
  const list = await registry.call({
    what: `find the runner ${runnerName}`,
    run: async (octokit) => {
      const { route, names } = registry;
      const answer = await octokit.request(`GET ${route}`, { ...names, name: runnerName });
      return RunnerList.parse(answer.data);
    },
  });
  const holder = list.runners.find(({ name }) => name === runnerName);
  if (holder === undefined) return;
  const outcome = holder.busy ? 'busy' : await removeRunner(registry, holder.id);
  if (outcome !== 'busy') return;
  throw new RunnerNameTakenError(`A runner named ${runnerName} works on a job.`, {
    context: { runnerName, runnerId: holder.id },
  });
}

async function removeRunner(
  { name, route, names, call }: RunnerRegistry,
  runnerId: number,
): Promise<Removal> {
  try {
    await call({
      what: `remove runner ${runnerId} from ${name}`,
      run: (octokit) =>
        octokit.request(`DELETE ${route}/{runner_id}`, { ...names, runner_id: runnerId }),
    });
    return 'removed';
  } catch (error) {
    if (isDenied(error, NOT_FOUND)) return 'absent';
    if (isDenied(error, UNPROCESSABLE)) return 'busy';
    if (isDenied(error, FORBIDDEN)) return 'denied';
    throw error;
  }
}

function isDenied(error: unknown, status: number): boolean {
  return error instanceof GithubDeniedError && error.status === status;
}
