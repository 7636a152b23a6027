/**
 * Several Apps as one: each installation is asked about as the App that it is of, with that App's key,
 * limits and pace. GitHub numbers installations over all Apps, so the number tells the App; which it
 * is, is asked once, as every App, and remembered.
 *
 * Invariant: an installation is never spoken for by another App than GitHub says.
 */
import type { Logger } from 'pino';
import { appsOf, type Config } from '../config.ts';
import {
  type AppClient,
  createGithubClient,
  type GithubCall,
  type GithubClient,
  type SingleAppClient,
} from './client.ts';
import { GithubDeniedError } from './errors.ts';

const NOT_FOUND = 404;
const MAX_REMEMBERED = 10_000;

export interface GithubAppsOptions {
  readonly github: Config['github'];
  readonly logger: Logger;
  readonly now?: () => number;
}

export function createGithubApps({ github, ...options }: GithubAppsOptions): GithubClient {
  const clients = appsOf(github).map((app) => createGithubClient({ ...options, github: app }));
  const [only, ...more] = clients;
  return only !== undefined && more.length === 0 ? only : new GithubApps(clients, options.logger);
}

class GithubApps implements GithubClient {
  readonly apps: readonly AppClient[];
  readonly #clients: readonly SingleAppClient[];
  readonly #logger: Logger;
  /** By installation, the oldest first. */
  readonly #known = new Map<number, SingleAppClient>();
  readonly #asking = new Map<number, Promise<SingleAppClient | undefined>>();

  constructor(clients: readonly SingleAppClient[], logger: Logger) {
    this.apps = clients;
    this.#clients = clients;
    this.#logger = logger;
  }

  async asInstallation<T>(installationId: number, call: GithubCall<T>): Promise<T> {
    return (await this.#clientOf(installationId, call.what)).asInstallation(installationId, call);
  }

  async may(installationId: number, permission: string, access: 'read' | 'write') {
    const client = await this.#clientOf(installationId, 'read its permissions');
    return client.may(installationId, permission, access);
  }

  isClosed(installationId: number): boolean {
    return this.#known.get(installationId)?.isClosed(installationId) ?? false;
  }

  /** Where the App is not known yet, the look itself finds that out. */
  mayPoll(installationId: number): boolean {
    return this.#known.get(installationId)?.mayPoll(installationId) ?? true;
  }

  otherPoints(installationId: number): number {
    return this.#known.get(installationId)?.otherPoints(installationId) ?? 0;
  }

  leaveRoom(installationId: number): void {
    this.#known.get(installationId)?.leaveRoom(installationId);
  }

  async appOf(installationId: number): Promise<number | undefined> {
    return (await this.#find(installationId))?.appId;
  }

  knownAppOf(installationId: number): number | undefined {
    const known = this.#known.get(installationId);
    if (known === undefined) {
      this.#find(installationId).catch((err: unknown) => {
        this.#logger.warn({ err, installationId }, 'whose installation it is, is not known');
      });
    }
    return known?.appId;
  }

  async #clientOf(installationId: number, what: string): Promise<SingleAppClient> {
    const client = await this.#find(installationId);
    if (client !== undefined) return client;
    const why = `None of the Apps is installed as ${installationId}; could not ${what}.`;
    throw new GithubDeniedError(why, NOT_FOUND);
  }

  #find(installationId: number): Promise<SingleAppClient | undefined> {
    const known = this.#known.get(installationId);
    if (known !== undefined) return Promise.resolve(known);
    const asking = this.#asking.get(installationId) ?? this.#ask(installationId);
    this.#asking.set(installationId, asking);
    return asking;
  }

  async #ask(installationId: number): Promise<SingleAppClient | undefined> {
    try {
      const found = await askEach(this.#clients, installationId);
      if (found !== undefined) this.#remember(installationId, found);
      return found;
    } finally {
      this.#asking.delete(installationId);
    }
  }

  #remember(installationId: number, client: SingleAppClient): void {
    this.#known.set(installationId, client);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_REMEMBERED && oldest !== undefined) this.#known.delete(oldest);
  }
}

/** Rejects where an App whose it might be could not be asked. */
async function askEach(
  clients: readonly SingleAppClient[],
  installationId: number,
): Promise<SingleAppClient | undefined> {
  const answers = await Promise.allSettled(clients.map((one) => isIts(one, installationId)));
  const found = clients.find((_, at) => {
    const answer = answers[at];
    return answer?.status === 'fulfilled' && answer.value;
  });
  const failed = answers.find((answer) => answer.status === 'rejected');
  if (found === undefined && failed !== undefined) throw failed.reason;
  return found;
}

async function isIts(client: AppClient, installationId: number): Promise<boolean> {
  try {
    await client.asApp({
      what: `find installation ${installationId} of App ${client.appId}`,
      run: (octokit) => octokit.rest.apps.getInstallation({ installation_id: installationId }),
    });
    return true;
  } catch (error) {
    if (error instanceof GithubDeniedError && error.status === NOT_FOUND) return false;
    throw error;
  }
}
