/**
 * The repositories' own files, read through the App from their default branches, so that a pull
 * request changes nothing before it is merged. Kept for a minute; then asked for conditionally.
 * Source: docs.github.com, "Get repository content".
 */
import type { Logger } from 'pino';
import { z } from 'zod';
import type { Policy } from '../labels/policy.ts';
import {
  MAX_REPOSITORY_FILE_BYTES,
  policyOfRepository,
  REPOSITORY_FILE,
  type RepositoryPolicy,
  type RepositoryText,
} from '../labels/repository-file.ts';
import type { JobOrigin } from '../records/records.ts';
import type { GithubClient } from './client.ts';
import { GithubDeniedError } from './errors.ts';

const FRESH_MS = 60_000;
const MAX_REPOSITORIES = 5_000;
const ABSENT_STATUSES = [403, 404];

const Content = z.object({
  type: z.literal('file'),
  size: z.int(),
  encoding: z.string(),
  content: z.string(),
});

type Place = Pick<JobOrigin, 'installationId' | 'owner' | 'repo'>;

interface Kept extends RepositoryPolicy {
  readonly readAtMs: number;
}

export interface RepositoryFilesOptions {
  readonly client: Pick<GithubClient, 'asInstallation'>;
  readonly policy: Policy;
  readonly logger: Logger;
  readonly now: () => number;
}

export class RepositoryFiles {
  readonly #options: RepositoryFilesOptions;
  /** In the order of the last reading. */
  readonly #kept = new Map<string, Kept>();
  readonly #reading = new Map<string, Promise<void>>();

  constructor(options: RepositoryFilesOptions) {
    this.#options = options;
  }

  /** The operator's own policy where the repository's file was not read. */
  policyFor(place: Place): RepositoryPolicy {
    return this.#kept.get(keyOf(place)) ?? { policy: this.#options.policy, fault: undefined };
  }

  /** Whether something is known of it, of whatever age. */
  knows(place: Place): boolean {
    return this.#kept.has(keyOf(place));
  }

  /** Reads the file unless that was done a moment ago. Rejects when GitHub does not answer. */
  async refresh(place: Place): Promise<void> {
    const key = keyOf(place);
    const kept = this.#kept.get(key);
    if (kept !== undefined && this.#options.now() - kept.readAtMs < FRESH_MS) return;
    const reading = this.#reading.get(key) ?? this.#read(place, key);
    this.#reading.set(key, reading);
    await reading;
  }

  async #read(place: Place, key: string): Promise<void> {
    try {
      const { policy, logger, now } = this.#options;
      const given = await this.#fetch(place);
      const read = policyOfRepository(policy, `${place.owner}/${place.repo}`, given);
      if (read.fault !== undefined)
        logger.warn({ repository: key, fault: read.fault }, 'a repository’s file is not usable');
      this.#kept.delete(key);
      this.#kept.set(key, { ...read, readAtMs: now() });
      const [oldest] = this.#kept.keys();
      if (this.#kept.size > MAX_REPOSITORIES && oldest !== undefined) this.#kept.delete(oldest);
    } finally {
      this.#reading.delete(key);
    }
  }

  /** `absent` as well where the App may not read it. */
  async #fetch({ installationId, owner, repo }: Place): Promise<RepositoryText> {
    try {
      return await this.#options.client.asInstallation(installationId, {
        what: `read ${REPOSITORY_FILE} of ${owner}/${repo}`,
        run: async (octokit) => {
          const place = { owner, repo, path: REPOSITORY_FILE };
          return textOf((await octokit.rest.repos.getContent(place)).data);
        },
      });
    } catch (error) {
      if (error instanceof GithubDeniedError && ABSENT_STATUSES.includes(error.status))
        return { kind: 'absent' };
      throw error;
    }
  }
}

/** What is no plain file is as if it were not there. */
function textOf(data: unknown): RepositoryText {
  const file = Content.safeParse(data);
  if (!file.success) return { kind: 'absent' };
  const { size, encoding, content } = file.data;
  if (size > MAX_REPOSITORY_FILE_BYTES || encoding !== 'base64') return { kind: 'too-long' };
  return { kind: 'text', text: Buffer.from(content, 'base64').toString('utf8') };
}

function keyOf({ owner, repo }: Place): string {
  return `${owner}/${repo}`.toLowerCase();
}
