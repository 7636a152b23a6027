/**
 * The slow source of truth beside the webhooks: every `intervalMs` one round of questions to GitHub,
 * by the process that holds the lease only.
 *
 *   each App's log of deliveries ─▶ failed ones are sent again
 *   installations ─▶ open jobs of each repository, then runners ─▶ records ─▶ nudge
 *   lost jobs ─▶ run again once their workflow runs have ended
 *
 * Rounds never overlap. A part that fails is logged, holds up no other, and is asked again next time.
 */
import type { Logger } from 'pino';
import type { JobPoll, JobSurvey } from './poll-jobs.ts';
import type { RunnerPoll } from './poll-runners.ts';
import type { Redelivery } from './redeliver-failed.ts';
import type { Reruns } from './rerun-lost.ts';

export interface GithubPollOptions {
  readonly survey: Pick<JobSurvey, 'installations'>;
  readonly jobs: Pick<JobPoll, 'round'>;
  readonly runners: Pick<RunnerPoll, 'round'>;
  readonly reruns: Pick<Reruns, 'round'>;
  /** One for each App. */
  readonly redeliveries: readonly Pick<Redelivery, 'round'>[];
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

  /** One round, for whoever drives it by hand. Never rejects. */
  async round(): Promise<void> {
    const { survey, jobs, runners, reruns, redeliveries, nudge } = this.#options;
    for (const one of redeliveries) await this.#attempt('failed deliveries', () => one.round());
    await this.#attempt('jobs and runners', async () => {
      const installations = await survey.installations();
      if (await jobs.round(installations)) nudge();
      if (await runners.round(installations.items)) nudge();
    });
    await this.#attempt('lost jobs', () => reruns.round());
  }

  async #attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (err) {
      this.#options.logger.warn({ err, what }, 'GitHub could not be polled');
    }
  }

  #tick(): void {
    if (this.#round !== undefined || !this.#options.isLeader()) return;
    this.#round = this.round().finally(() => {
      this.#round = undefined;
    });
  }
}
