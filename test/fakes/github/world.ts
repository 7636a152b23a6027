/** The simulated GitHub's memory: accounts, repositories, installations, runners, runs, checks. */
import { randomBytes, randomUUID } from 'node:crypto';
import { JobLog } from './job-log.ts';
import type {
  Account,
  CheckRun,
  Installation,
  Job,
  JobPlan,
  RegisteredApp,
  Repository,
  Run,
  Runner,
  RunnerScope,
} from './model.ts';
import type { AppOptions, Options, Permissions } from './options.ts';
import { type Random, seededRandom } from './random.ts';
import { notFound } from './refusal.ts';

export class World {
  readonly options: Options;
  /** The first App; another that is registered by a manifest takes its place. */
  app: RegisteredApp;
  readonly furtherApps: readonly RegisteredApp[];
  readonly random: Random;
  readonly accounts = new Map<string, Account>();
  readonly repositories = new Map<string, Repository>();
  readonly installations = new Map<number, Installation>();
  readonly runners = new Map<number, Runner>();
  readonly runs = new Map<number, Run>();
  readonly jobs = new Map<number, Job>();
  readonly checkRuns: CheckRun[] = [];
  url = '';
  /** Ids never repeat, not even over restarts: whoever keeps them must not meet old ones. */
  #lastId = Date.now();
  #lastInstallationId = 0;

  constructor(options: Options) {
    this.options = options;
    const { permissions } = options;
    const register = ({ appId: id, appPublicKey: publicKey, webhookSecret }: AppOptions) => {
      return { id, slug: 'architect', name: 'Architect', publicKey, webhookSecret, permissions };
    };
    this.app = register(options);
    this.furtherApps = options.furtherApps.map((one) => {
      const { id } = register(one);
      return { ...register(one), slug: `architect-${id}`, name: `Architect ${id}` };
    });
    this.random = seededRandom(options.seed);
  }

  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  addAccount(login: string, type: Account['type']): Account {
    const account = { id: this.nextId(), login, type };
    this.accounts.set(login.toLowerCase(), account);
    return account;
  }

  addRepository(owner: Account, name: string): Repository {
    const repository = { id: this.nextId(), name, owner, createdAtMs: Date.now() };
    this.repositories.set(`${owner.login}/${name}`.toLowerCase(), repository);
    return repository;
  }

  get apps(): readonly RegisteredApp[] {
    return [this.app, ...this.furtherApps];
  }

  appOf({ appId }: Pick<Installation, 'appId'>): RegisteredApp {
    return this.furtherApps.find(({ id }) => id === appId) ?? this.app;
  }

  installationsOfApp({ id }: RegisteredApp): Installation[] {
    return [...this.installations.values()].filter((one) => this.appOf(one).id === id);
  }

  /** `appId` unset: the first App is installed. */
  addInstallation(account: Account, permissions: Permissions, appId?: number): Installation {
    this.#lastInstallationId += 1;
    const installation = {
      id: this.#lastInstallationId,
      appId,
      account,
      permissions,
      createdAtMs: Date.now(),
      suspendedAtMs: undefined,
    };
    this.installations.set(installation.id, installation);
    return installation;
  }

  /** Throws the 404 answer. */
  account(login: string): Account {
    return this.accounts.get(login.toLowerCase()) ?? gone();
  }

  /** Throws the 404 answer. */
  repository(owner: string, name: string): Repository {
    return this.repositories.get(`${owner}/${name}`.toLowerCase()) ?? gone();
  }

  /** Throws the 404 answer. */
  run(id: number): Run {
    return this.runs.get(id) ?? gone();
  }

  /** Throws the 404 answer. */
  job(id: number): Job {
    return this.jobs.get(id) ?? gone();
  }

  installationsOf(account: Account): Installation[] {
    return [...this.installations.values()].filter((one) => one.account.id === account.id);
  }

  repositoriesOf(account: Account): Repository[] {
    return [...this.repositories.values()].filter(({ owner }) => owner.id === account.id);
  }

  runnersIn(scope: RunnerScope): Runner[] {
    return [...this.runners.values()].filter((runner) => sameScope(runner.scope, scope));
  }

  addRun(
    repository: Repository,
    detail: Pick<Run, 'id' | 'number' | 'workflowName' | 'path' | 'event' | 'sha' | 'branch'>,
  ): Run {
    const now = Date.now();
    const run = {
      ...detail,
      repository,
      createdAtMs: now,
      attempt: 1,
      attemptStartedAtMs: now,
      jobs: [],
    };
    this.runs.set(run.id, run);
    return run;
  }

  addJob(run: Run, plan: JobPlan): Job {
    const job: Job = {
      id: this.nextId(),
      run,
      attempt: run.attempt,
      plan,
      status: 'queued',
      conclusion: null,
      runner: undefined,
      steps: [],
      log: new JobLog(),
      summaries: new Map(),
      queuedAtMs: Date.now(),
      webhookSentAtMs: undefined,
      runnerOnlineAtMs: undefined,
      assignedAtMs: undefined,
      firstStepAtMs: undefined,
      completedAtMs: undefined,
      lockedUntilMs: undefined,
      cancelledAtMs: undefined,
    };
    run.jobs.push(job);
    this.jobs.set(job.id, job);
    return job;
  }

  addRunner(
    scope: RunnerScope,
    detail: Pick<Runner, 'name' | 'labels' | 'groupId' | 'workFolder'>,
  ): Runner {
    const now = Date.now();
    const runner: Runner = {
      ...detail,
      id: this.nextId(),
      scope,
      token: randomBytes(32).toString('base64url'),
      createdAtMs: now,
      unusedSinceMs: now,
      firstOnlineAtMs: undefined,
      session: undefined,
      offered: undefined,
      offeredAtMs: 0,
      job: undefined,
    };
    this.runners.set(runner.id, runner);
    return runner;
  }
}

export function sameScope(a: RunnerScope, b: RunnerScope): boolean {
  if (a.kind === 'enterprise') return b.kind === a.kind && a.enterprise.slug === b.enterprise.slug;
  if (a.kind === 'organization') return b.kind === a.kind && a.account.id === b.account.id;
  return b.kind === a.kind && a.repository.id === b.repository.id;
}

export function serves(scope: RunnerScope, repository: Repository): boolean {
  if (scope.kind === 'repository') return scope.repository.id === repository.id;
  if (scope.kind === 'organization') return scope.account.id === repository.owner.id;
  const { organizations, chosen = organizations } = scope.enterprise;
  const { login } = repository.owner;
  return organizations.includes(login) && chosen.includes(login);
}

export function newSessionId(): string {
  return randomUUID();
}

function gone(): never {
  throw notFound();
}
