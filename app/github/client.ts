/**
 * GitHub's REST API as the App and as each of its installations, or as the holder of a token: every
 * request has a time limit, the App's tokens are cached until they lapse, what was read before is asked for conditionally, and a rate
 * limit stops requests until GitHub takes them again.
 */
import { createAppAuth } from '@octokit/auth-app';
import { Octokit } from '@octokit/rest';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { AppConfig } from '../config.ts';
import { VERSION } from '../version.ts';
import { AnswerCache } from './answer-cache.ts';
import { GithubPacedError, GithubRateLimitedError, toGithubError } from './errors.ts';
import { mayPoll, parseRateStanding, type RateStanding } from './rate-standing.ts';
import { pointsOf, SpentPoints } from './spent-points.ts';

const REQUEST_TIMEOUT_MS = 10_000;
const MAX_INSTALLATIONS = 1_000;
const USER_AGENT = `architect/${VERSION}`;
const MAX_POINTS_PER_MINUTE = 900;
/** Of those: polling leaves the rest to what is minted. */
const POLL_UNTIL_POINTS = 600;
/** So many repositories are looked at in a minute, however much is minted. */
const POLLS_ALWAYS_PER_MINUTE = 60;

export interface GithubCall<T> {
  /** For the message of an error: "register a runner with octo". */
  readonly what: string;
  readonly run: (octokit: Octokit) => Promise<T>;
}

/** One App by itself: what it is told of its installations, and its log of deliveries. */
export interface AppClient {
  readonly appId: number;
  asApp<T>(call: GithubCall<T>): Promise<T>;
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
  const app: AppClient = { appId, asApp: (call) => client.call('app', call) };
  return {
    ...app,
    apps: [app],
    asInstallation: (installationId, call) => client.call(installationId, call),
    may: (...asked) => client.may(...asked),
    isClosed: (installationId) => client.isClosed(installationId),
    mayPoll: (installationId) => client.mayPoll(installationId),
    appOf: async () => appId,
    knownAppOf: () => appId,
  };
}

/** GitHub as the holder of a personal access token; its limits are its own. */
export interface TokenClient {
  withToken<T>(call: GithubCall<T>): Promise<T>;
  isClosed(): boolean;
  mayPoll(): boolean;
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
  };
}

/** `app`: the credentials' own, of no installation. */
type Caller = number | 'app';

type Credentials = (caller: Caller) => Pick<OctokitOptions, 'authStrategy' | 'auth'>;
type OctokitOptions = NonNullable<ConstructorParameters<typeof Octokit>[0]>;
type ClientOptions = Omit<TokenClientOptions, 'token'>;

class OctokitClient {
  readonly #options: ClientOptions;
  readonly #credentials: Credentials;
  readonly #now: () => number;
  readonly #app: Octokit;
  readonly #installations = new Map<number, Octokit>();
  readonly #closedUntilMs = new Map<Caller, number>();
  readonly #answers = new AnswerCache();
  readonly #standings = new Map<Caller, RateStanding>();
  readonly #points = new SpentPoints();
  readonly #polls = new SpentPoints();

  constructor(options: ClientOptions, credentials: Credentials) {
    this.#options = options;
    this.#credentials = credentials;
    this.#now = options.now ?? Date.now;
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
    const nowMs = this.#now();
    if (this.isClosed(caller)) return false;
    if (!mayPoll(this.#standings.get(caller), nowMs)) return false;
    if (this.#points.lastMinute(nowMs) < POLL_UNTIL_POINTS) {
      this.#polls.note(1, nowMs);
      return true;
    }
    return this.#polls.take(1, POLLS_ALWAYS_PER_MINUTE, nowMs);
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
        const counted = this.#beginRequest(pointsOf(conditional.method ?? 'GET'));
        const answer = await send(url, conditional).finally(() => counted(this.#now()));
        const standing = parseRateStanding(answer.headers);
        if (standing !== undefined) this.#standings.set(caller, standing);
        return answer;
      });
  }

  #beginRequest(points: number): (nowMs: number) => void {
    if (this.#points.lastMinute(this.#now()) + points > MAX_POINTS_PER_MINUTE) {
      throw new GithubPacedError("The App's points of this minute are spent; nothing was sent.");
    }
    return this.#points.begin(points);
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
