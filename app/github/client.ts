/**
 * GitHub's REST API as the App and as each of its installations, or as the holder of a token: every
 * request has a time limit, the App's tokens are cached until they lapse, what was read before is asked
 * for conditionally, and a rate limit stops requests until GitHub takes them again. While it does not
 * answer, calls fail at once.
 */
import { createAppAuth } from '@octokit/auth-app';
import { Octokit } from '@octokit/rest';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { AppConfig } from '../config.ts';
import { VERSION } from '../version.ts';
import { AnswerCache } from './answer-cache.ts';
import { GithubAwayError, GithubRateLimitedError, toGithubError } from './errors.ts';
import { type AskedRequest, PointBudget } from './point-budget.ts';
import { mayPoll, parseRateStanding, type RateStanding } from './rate-standing.ts';
import { Silence } from './silence.ts';

const REQUEST_TIMEOUT_MS = 10_000;
const MAX_INSTALLATIONS = 1_000;
const USER_AGENT = `architect/${VERSION}`;

export interface GithubCall<T> {
  /** For the message of an error: "register a runner with octo". */
  readonly what: string;
  readonly run: (octokit: Octokit) => Promise<T>;
}

/** One App by itself: what it is told of its installations, and its log of deliveries. */
export interface AppClient {
  readonly appId: number;
  asApp<T>(call: GithubCall<T>): Promise<T>;
  /** Whether its log has a turn: reading a page of it, or sending a delivery again. */
  mayUseLog(use: 'read' | 'write'): boolean;
}

/** Calls reject with a GithubError class of errors.ts; nothing is tried again in here. */
export interface GithubClient {
  readonly apps: readonly AppClient[];
  asInstallation<T>(installationId: number, call: GithubCall<T>): Promise<T>;
  /** Whether the installation was granted it; `write` includes `read`. */
  may(installationId: number, permission: string, access: 'read' | 'write'): Promise<boolean>;
  /** GitHub has said when it takes requests for it again, and that is still to come. */
  isClosed(installationId: number): boolean;
  /** Whether one more look may be polled for now: limits that are near are left to what hurries. */
  mayPoll(installationId: number): boolean;
  /** Points of its App's last minute, but for registering and removing runners. */
  otherPoints(installationId: number): number;
  /** Runners wait to be registered: polling as its App keeps to its least for a minute. */
  leaveRoom(installationId: number): void;
  /** Whose installation it is; undefined: of no App of ours. Rejects where that cannot be asked. */
  appOf(installationId: number): Promise<number | undefined>;
  /** The same without waiting; undefined as well where it is only asked for now. */
  knownAppOf(installationId: number): number | undefined;
}

export type SingleAppClient = AppClient & GithubClient;

export interface GithubClientOptions {
  readonly github: Pick<AppConfig, 'apiUrl' | 'appId' | 'privateKey'>;
  readonly logger: Logger;
  readonly now?: () => number;
  readonly requestTimeoutMs?: number;
}

const Permissions = z.object({ permissions: z.record(z.string(), z.string()) });

export function createGithubClient(options: GithubClientOptions): SingleAppClient {
  const { appId, privateKey } = options.github;
  const client = new OctokitClient(options, (caller) => ({
    authStrategy: createAppAuth,
    auth: { appId, privateKey, ...(caller === 'app' ? {} : { installationId: caller }) },
  }));
  const { budget } = client;
  const app: AppClient = {
    appId,
    asApp: (call) => client.call('app', call),
    mayUseLog: (use) => budget.mayUseLog(use),
  };
  return {
    ...app,
    apps: [app],
    asInstallation: (installationId, call) => client.call(installationId, call),
    may: (...asked) => client.may(...asked),
    isClosed: (installationId) => client.isClosed(installationId),
    mayPoll: (installationId) => client.mayPoll(installationId),
    otherPoints: () => budget.otherPoints(),
    leaveRoom: () => budget.leaveRoom(),
    appOf: async () => appId,
    knownAppOf: () => appId,
  };
}

/** GitHub as the holder of a personal access token; its limits are its own. */
export interface TokenClient {
  withToken<T>(call: GithubCall<T>): Promise<T>;
  isClosed(): boolean;
  mayPoll(): boolean;
  /** As a GithubClient's. */
  otherPoints(): number;
  leaveRoom(): void;
}

export interface TokenClientOptions extends Omit<GithubClientOptions, 'github'> {
  readonly github: Pick<AppConfig, 'apiUrl'>;
  readonly token: string;
}

export function createTokenClient({ token, ...options }: TokenClientOptions): TokenClient {
  const client = new OctokitClient(options, () => ({ auth: token }));
  return {
    withToken: (call) => client.call('app', call),
    isClosed: () => client.isClosed('app'),
    mayPoll: () => client.mayPoll('app'),
    otherPoints: () => client.budget.otherPoints(),
    leaveRoom: () => client.budget.leaveRoom(),
  };
}

/** `app`: the credentials' own, of no installation. */
type Caller = number | 'app';

type Credentials = (caller: Caller) => Pick<OctokitOptions, 'authStrategy' | 'auth'>;
type OctokitOptions = NonNullable<ConstructorParameters<typeof Octokit>[0]>;
type ClientOptions = Omit<TokenClientOptions, 'token'>;

class OctokitClient {
  readonly budget: PointBudget;
  readonly #options: ClientOptions;
  readonly #credentials: Credentials;
  readonly #now: () => number;
  readonly #app: Octokit;
  readonly #installations = new Map<number, Octokit>();
  readonly #closedUntilMs = new Map<Caller, number>();
  readonly #answers = new AnswerCache();
  readonly #standings = new Map<Caller, RateStanding>();
  readonly #silence = new Silence();

  constructor(options: ClientOptions, credentials: Credentials) {
    this.#options = options;
    this.#credentials = credentials;
    this.#now = options.now ?? Date.now;
    this.budget = new PointBudget(this.#now);
    this.#app = this.#create('app');
  }

  async may(installationId: number, permission: string, access: 'read' | 'write') {
    const { permissions } = await this.call(installationId, {
      what: `read the permissions of installation ${installationId}`,
      run: async (octokit) => Permissions.parse(await octokit.auth({ type: 'installation' })),
    });
    const granted = permissions[permission];
    return granted === 'write' || granted === access;
  }

  isClosed(caller: Caller): boolean {
    return (this.#closedUntilMs.get(caller) ?? 0) > this.#now();
  }

  mayPoll(caller: Caller): boolean {
    if (this.isClosed(caller)) return false;
    return mayPoll(this.#standings.get(caller), this.#now()) && this.budget.mayPoll();
  }

  async call<T>(caller: Caller, { what, run }: GithubCall<T>): Promise<T> {
    const retryAtMs = this.#closedUntilMs.get(caller) ?? 0;
    if (retryAtMs > this.#now()) {
      throw new GithubRateLimitedError(`GitHub limits the rate; did not ${what}.`, retryAtMs);
    }
    this.#closedUntilMs.delete(caller);
    try {
      return await run(caller === 'app' ? this.#app : this.#installation(caller));
    } catch (error) {
      const known = toGithubError(error, what, this.#now());
      if (known instanceof GithubRateLimitedError) {
        this.#closedUntilMs.set(caller, known.retryAtMs);
      }
      // Its token may have been revoked: the next call asks for a new one.
      if (caller !== 'app' && known.context.status === 401) this.#installations.delete(caller);
      throw known;
    }
  }

  #installation(id: number): Octokit {
    const known = this.#installations.get(id);
    if (known !== undefined) return known;
    const [oldest] = this.#installations.keys();
    if (this.#installations.size >= MAX_INSTALLATIONS && oldest !== undefined) {
      this.#installations.delete(oldest);
      this.#standings.delete(oldest);
    }
    const octokit = this.#create(id);
    this.#installations.set(id, octokit);
    return octokit;
  }

  #create(caller: Caller): Octokit {
    const { github, logger } = this.#options;
    return new Octokit({
      ...this.#credentials(caller),
      baseUrl: github.apiUrl.replace(/\/+$/, ''),
      userAgent: USER_AGENT,
      request: { fetch: this.#fetchAs(caller) },
      log: octokitLog(logger),
    });
  }

  #fetchAs(caller: Caller): (url: string, init?: RequestInit) => Promise<Response> {
    const send = fetchWithin(this.#options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS);
    return (url, init = {}) =>
      this.#answers.fetch({ caller: String(caller), url, init }, async (conditional) => {
        const asked = { url, method: conditional.method ?? 'GET' };
        const answer = await this.#ask(asked, () => send(url, conditional));
        const standing = parseRateStanding(answer.headers);
        if (standing !== undefined) this.#standings.set(caller, standing);
        return answer;
      });
  }

  async #ask(asked: AskedRequest, send: () => Promise<Response>): Promise<Response> {
    this.budget.requireRoom(asked);
    if (!this.#silence.admit(performance.now()))
      throw new GithubAwayError('GitHub does not answer at the moment; it was not asked.');
    const end = this.budget.begin(asked);
    let wasAnswered = false;
    try {
      const answer = await send();
      wasAnswered = true;
      return answer;
    } finally {
      end();
      this.#silence.note(wasAnswered, performance.now());
    }
  }
}

/** The signal of Octokit's caller, where there is one, ends the request too. */
function fetchWithin(timeoutMs: number) {
  return (url: string, init: RequestInit): Promise<Response> => {
    const limit = AbortSignal.timeout(timeoutMs);
    const signal = init.signal ? AbortSignal.any([init.signal, limit]) : limit;
    return fetch(url, { ...init, signal });
  };
}

function octokitLog(logger: Logger) {
  const note = (message: string) => logger.debug({ octokit: message }, 'octokit');
  return { debug: note, info: note, warn: note, error: note };
}
