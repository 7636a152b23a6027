/**
 * The slow source of truth beside the webhooks: every `intervalMs` one round of questions to GitHub,
 * by the process that holds the lease only.
 *
 *   installations ─▶ open jobs of each repository ─▶ records ─▶ nudge
 *
 * Rounds never overlap. A round that fails is logged, and the next one asks again.
 */
import type { Logger } from 'pino';
import type { JobPoll, JobSurvey } from './poll-jobs.ts';

export interface GithubPollOptions {
  readonly survey: Pick<JobSurvey, 'installations'>;
  readonly jobs: Pick<JobPoll, 'round'>;
  readonly intervalMs: number;
  readonly isLeader: () => boolean;
  readonly nudge: () => void;
  readonly logger: Logger;
}

export class GithubPoll {
  readonly #options: GithubPollOptions;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;

  constructor(options: GithubPollOptions) {
    this.#options = options;
  }

  /** The first round comes after one interval: until then recovery has asked for everything. */
  start(): void {
    this.#timer ??= setInterval(() => this.#tick(), this.#options.intervalMs);
  }

  /** Waits for the round under way. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#round;
  }

  /** One round, for whoever drives it by hand. Rejects when the installations cannot be listed. */
  async round(): Promise<void> {
    const { survey, jobs, nudge } = this.#options;
    const { items } = await survey.installations();
    if (await jobs.round(items)) nudge();
  }

  #tick(): void {
    const { isLeader, logger } = this.#options;
    if (this.#round !== undefined || !isLeader()) return;
    this.#round = this.round()
      .catch((err: unknown) => logger.warn({ err }, 'GitHub could not be polled'))
      .finally(() => {
        this.#round = undefined;
      });
  }
}
