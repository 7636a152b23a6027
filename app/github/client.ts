/**
 * GitHub's REST API as the App and as each of its installations: every request has a time limit,
 * tokens are cached until they lapse, and a rate limit stops requests until GitHub takes them again.
 */
import { createAppAuth } from '@octokit/auth-app';
import { Octokit } from '@octokit/rest';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { Config } from '../config.ts';
import { GithubRateLimitedError, toGithubError } from './errors.ts';

const REQUEST_TIMEOUT_MS = 10_000;
const MAX_INSTALLATIONS = 1_000;
const USER_AGENT = 'architect/0.1.0';

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

  constructor(options: GithubClientOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#app = this.#create({});
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
    }
    const octokit = this.#create({ installationId: id });
    this.#installations.set(id, octokit);
    return octokit;
  }

  #create(who: { readonly installationId?: number }): Octokit {
    const { github, logger, requestTimeoutMs = REQUEST_TIMEOUT_MS } = this.#options;
    return new Octokit({
      authStrategy: createAppAuth,
      auth: { appId: github.appId, privateKey: github.privateKey, ...who },
      baseUrl: github.apiUrl.replace(/\/+$/, ''),
      userAgent: USER_AGENT,
      request: { fetch: fetchWithin(requestTimeoutMs) },
      log: octokitLog(logger),
    });
  }
}

/** The signal of Octokit's caller, where there is one, ends the request too. */
function fetchWithin(timeoutMs: number): typeof fetch {
  return (url, init = {}) => {
    const limit = AbortSignal.timeout(timeoutMs);
    const signal = init.signal ? AbortSignal.any([init.signal, limit]) : limit;
    return fetch(url, { ...init, signal });
  };
}

function octokitLog(logger: Logger) {
  const note = (message: string) => logger.debug({ octokit: message }, 'octokit');
  return { debug: note, info: note, warn: note, error: note };
}
