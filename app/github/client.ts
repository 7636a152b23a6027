/**
 * GitHub's REST API as the App and as each of its installations: every request has a time limit,
 * tokens are cached until they lapse, what was read before is asked for conditionally, and a rate
 * limit stops requests until GitHub takes them again. While it does not answer, calls fail at once.
 */
import { createAppAuth } from '@octokit/auth-app';
import { Octokit } from '@octokit/rest';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { Config } from '../config.ts';
import { AnswerCache } from './answer-cache.ts';
import { GithubAwayError, GithubRateLimitedError, toGithubError } from './errors.ts';
import { mayPoll, parseRateStanding, type RateStanding } from './rate-standing.ts';
import { Silence } from './silence.ts';
import { pointsOf, SpentPoints } from './spent-points.ts';

const REQUEST_TIMEOUT_MS = 10_000;
const MAX_INSTALLATIONS = 1_000;
const USER_AGENT = 'architect/0.1.0';
/** Of GitHub's 900 points a minute: polling leaves the rest to what is minted. */
const POLL_UNTIL_POINTS = 600;
/** So many repositories are looked at in a minute, however much is minted. */
const POLLS_ALWAYS_PER_MINUTE = 60;
/** As long as what was polled before counts. */
const LEAVE_ROOM_MS = 60_000;
/** Of the App's log of deliveries, the same: pages read; deliveries sent again may take as much more. */
const LOG_READS_ALWAYS_PER_MINUTE = 10;
const LOG_POINTS_ALWAYS_PER_MINUTE = 20;

export interface GithubCall<T> {
  /** For the message of an error: "register a runner with octo". */
  readonly what: string;
  readonly run: (octokit: Octokit) => Promise<T>;
}

/** Calls reject with a GithubError class of errors.ts; nothing is tried again in here. */
export interface GithubClient {
  asApp<T>(call: GithubCall<T>): Promise<T>;
  asInstallation<T>(installationId: number, call: GithubCall<T>): Promise<T>;
  /** Whether the installation was granted it; `write` includes `read`. */
  may(installationId: number, permission: string, access: 'read' | 'write'): Promise<boolean>;
  /** GitHub has said when it takes requests for it again, and that is still to come. */
  isClosed(installationId: number): boolean;
  /** Whether one more look may be polled for now: limits that are near are left to what hurries. */
  mayPoll(installationId: number): boolean;
  /** The same for the App's log of deliveries: reading a page of it, or sending one again. */
  mayUseLog(use: 'read' | 'write'): boolean;
  /** Points of the last minute, but for registering and removing runners. */
  otherPoints(): number;
  /** Runners wait to be registered: polling keeps to its least for a minute. */
  leaveRoom(): void;
}

export interface GithubClientOptions {
  readonly github: Pick<Config['github'], 'apiUrl' | 'appId' | 'privateKey'>;
  readonly logger: Logger;
  readonly now?: () => number;
  readonly requestTimeoutMs?: number;
}

const Permissions = z.object({ permissions: z.record(z.string(), z.string()) });

export function createGithubClient(options: GithubClientOptions): GithubClient {
  return new OctokitClient(options);
}

type Caller = number | 'app';

class OctokitClient implements GithubClient {
  readonly #options: GithubClientOptions;
  readonly #now: () => number;
  readonly #app: Octokit;
  readonly #installations = new Map<number, Octokit>();
  readonly #closedUntilMs = new Map<Caller, number>();
  readonly #answers = new AnswerCache();
  readonly #standings = new Map<Caller, RateStanding>();
  readonly #points = new SpentPoints();
  readonly #otherPoints = new SpentPoints();
  readonly #polls = new SpentPoints();
  readonly #logUse = new SpentPoints();
  readonly #silence = new Silence();
  #leavesRoomUntilMs = 0;

  constructor(options: GithubClientOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#app = this.#create('app');
  }

  asApp<T>(request: GithubCall<T>): Promise<T> {
    return this.#call('app', request);
  }

  asInstallation<T>(installationId: number, request: GithubCall<T>): Promise<T> {
    return this.#call(installationId, request);
  }

  async may(installationId: number, permission: string, access: 'read' | 'write') {
    const { permissions } = await this.#call(installationId, {
      what: `read the permissions of installation ${installationId}`,
      run: async (octokit) => Permissions.parse(await octokit.auth({ type: 'installation' })),
    });
    const granted = permissions[permission];
    return granted === 'write' || granted === access;
  }

  isClosed(installationId: number): boolean {
    return (this.#closedUntilMs.get(installationId) ?? 0) > this.#now();
  }

  mayPoll(installationId: number): boolean {
    const nowMs = this.#now();
    if (this.isClosed(installationId)) return false;
    if (!mayPoll(this.#standings.get(installationId), nowMs)) return false;
    if (this.#hasSpare(nowMs)) {
      this.#polls.note(1, nowMs);
      return true;
    }
    return this.#polls.take(1, POLLS_ALWAYS_PER_MINUTE, nowMs);
  }

  mayUseLog(use: 'read' | 'write'): boolean {
    const nowMs = this.#now();
    const points = pointsOf(use === 'read' ? 'GET' : 'POST');
    if (this.#hasSpare(nowMs)) {
      this.#logUse.note(points, nowMs);
      return true;
    }
    const always = use === 'read' ? LOG_READS_ALWAYS_PER_MINUTE : LOG_POINTS_ALWAYS_PER_MINUTE;
    return this.#logUse.take(points, always, nowMs);
  }

  leaveRoom(): void {
    this.#leavesRoomUntilMs = this.#now() + LEAVE_ROOM_MS;
  }

  #hasSpare(nowMs: number): boolean {
    return nowMs >= this.#leavesRoomUntilMs && this.#points.lastMinute(nowMs) < POLL_UNTIL_POINTS;
  }

  otherPoints(): number {
    return this.#otherPoints.lastMinute(this.#now());
  }

  async #call<T>(caller: Caller, { what, run }: GithubCall<T>): Promise<T> {
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
    const who = caller === 'app' ? {} : { installationId: caller };
    return new Octokit({
      authStrategy: createAppAuth,
      auth: { appId: github.appId, privateKey: github.privateKey, ...who },
      baseUrl: github.apiUrl.replace(/\/+$/, ''),
      userAgent: USER_AGENT,
      request: { fetch: this.#fetchAs(caller) },
      log: octokitLog(logger),
    });
  }

  async #listen(ask: () => Promise<Response>): Promise<Response> {
    try {
      const answer = await ask();
      this.#silence.note(true, performance.now());
      return answer;
    } catch (error) {
      this.#silence.note(false, performance.now());
      throw error;
    }
  }

  #notePoints(url: string, method: string): void {
    const [points, nowMs] = [pointsOf(method), this.#now()];
    this.#points.note(points, nowMs);
    if (!changesRunners(url, method)) this.#otherPoints.note(points, nowMs);
  }

  #fetchAs(caller: Caller): (url: string, init?: RequestInit) => Promise<Response> {
    const send = fetchWithin(this.#options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS);
    return (url, init = {}) =>
      this.#answers.fetch({ caller: String(caller), url, init }, async (conditional) => {
        if (!this.#silence.admit(performance.now()))
          throw new GithubAwayError('GitHub does not answer at the moment; it was not asked.');
        this.#notePoints(url, conditional.method ?? 'GET');
        const answer = await this.#listen(() => send(url, conditional));
        const standing = parseRateStanding(answer.headers);
        if (standing !== undefined) this.#standings.set(caller, standing);
        return answer;
      });
  }
}

/** Registering or removing one: these are counted when they are decided (runners.ts). */
function changesRunners(url: string, method: string): boolean {
  return method !== 'GET' && url.includes('/actions/runners/');
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
