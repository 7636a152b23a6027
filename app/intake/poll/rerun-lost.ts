/**
 * One round over the lost jobs that are to be run again. Which these are is on disk, so neither a
 * restart nor an emptied Redis forgets one; each is settled once: asked for, or given up with a word.
 */
import type { Logger } from 'pino';
import type { JobBook } from '../../records/apply-job-facts.ts';
import type { JobOrigin, JobRecord } from '../../records/records.ts';
import { planRerun, type RerunPlan, type RunLook } from './plan-rerun.ts';

export interface RerunPorts {
  readonly book: Pick<JobBook, 'store' | 'evidence'>;
  readonly reruns: {
    readRun(origin: JobOrigin): Promise<RunLook | undefined>;
    askRerun(
      origin: JobOrigin,
      plan: Extract<RerunPlan, { readonly kind: 'job' | 'failed' }>,
    ): Promise<'asked' | 'later' | 'denied'>;
    mayPoll(installationId: number): boolean;
  };
  readonly now: () => number;
  readonly logger: Logger;
}

export class Reruns {
  readonly #ports: RerunPorts;

  constructor(ports: RerunPorts) {
    this.#ports = ports;
  }

  /** Never rejects: a run that fails is logged, and looked at in the next round. */
  async round(): Promise<void> {
    const { book, reruns, logger } = this.#ports;
    const byRun = Map.groupBy(book.evidence.jobsToRerun(), ({ origin }) => origin.runId);
    for (const [runId, jobs] of byRun) {
      const [first] = jobs;
      if (first === undefined || !reruns.mayPoll(first.origin.installationId)) continue;
      try {
        await this.#settle(first.origin, jobs);
      } catch (err) {
        logger.warn({ err, runId }, 'lost jobs could not be run again');
      }
    }
  }

  async #settle(origin: JobOrigin, jobs: readonly JobRecord[]): Promise<void> {
    const { reruns, now } = this.#ports;
    const run = await reruns.readRun(origin);
    const lost = jobs.map(({ id, lostAtMs, queuedAtMs }) => ({
      id,
      lostAtMs: lostAtMs ?? queuedAtMs,
    }));
    const plan = planRerun(run, lost, now());
    if (plan.kind === 'wait') return;
    if (plan.kind === 'never') return this.#note(jobs, 'given-up', plan.why);
    const outcome = await reruns.askRerun(origin, plan);
    if (outcome === 'later') return;
    if (outcome === 'asked') return this.#note(jobs, 'asked', 'It is run again.');
    return this.#note(jobs, 'given-up', 'The App may not write actions, so it is not run again.');
  }

  async #note(jobs: readonly JobRecord[], rerun: 'asked' | 'given-up', why: string): Promise<void> {
    const { book, now, logger } = this.#ports;
    for (const { id } of jobs) {
      await book.store.updateJob(id, now(), async (stored) => {
        const known = stored ?? book.evidence.readJob(id);
        if (known === undefined) return undefined;
        const record = { ...known, rerun, why: `${known.why ?? ''} ${why}`.trim().slice(0, 1000) };
        book.evidence.rememberJob(record);
        await book.evidence.written();
        return record;
      });
      logger.info({ jobId: id, rerun, why }, 'a lost job is settled');
    }
  }
}
