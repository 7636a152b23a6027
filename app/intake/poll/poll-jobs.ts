/**
 * One round of asking GitHub for open jobs, so that none is missed whatever became of its webhooks:
 *
 *   installations that are suspended or gone → their waiting jobs are let go
 *   each repository, the one not looked at for longest first
 *     open jobs that concern us → records
 *     our open jobs of it that a whole list does not show → asked one by one: over, or vanished
 *   our open jobs of repositories that the App does not show any more → the same
 *
 * A look that the rate limit has no room for is left out, and comes first in the next round. Nothing
 * that fails is tried again here: the next round does.
 */
import type { Logger } from 'pino';
import type { JobPlace } from '../../github/job-facts.ts';
import type { Installation, Listed } from '../../github/survey.ts';
import type { JobSource } from '../../reconciler/ports.ts';
import { applyJobFacts, type JobBook } from '../../records/apply-job-facts.ts';
import { vanish } from '../../records/job-state.ts';
import type { JobFacts, JobRecord } from '../../records/records.ts';
import { closeInstallations, WHY_REMOVED, WHY_SUSPENDED } from '../close-installation.ts';
import type { JobIntake } from '../ports.ts';

const LOOKS_AT_ONCE = 4;
/** Repositories whose last look is remembered. */
const MAX_REMEMBERED = 20_000;

/** GitHub as the poll asks it. */
export interface JobSurvey {
  installations(): Promise<Listed<Installation>>;
  repositories(installationId: number): Promise<Listed<JobPlace>>;
  openJobs(place: JobPlace): Promise<Listed<JobFacts>>;
  /** Whether the limits have room for one more look. */
  mayPoll(installationId: number): boolean;
}

export interface JobPollPorts {
  readonly survey: JobSurvey;
  readonly book: JobBook;
  readonly intake: Pick<JobIntake, 'applyJobFacts'>;
  readonly jobSource: Pick<JobSource, 'readJob'>;
  readonly now: () => number;
  readonly logger: Logger;
}

export class JobPoll {
  readonly #ports: JobPollPorts;
  readonly #lookedAtMs = new Map<string, number>();

  constructor(ports: JobPollPorts) {
    this.#ports = ports;
  }

  /** True when a record changed. One installation or repository that fails holds up no other. */
  async round({ items, complete }: Listed<Installation>): Promise<boolean> {
    const { survey, book, now, logger } = this.#ports;
    const whyClosed = (id: number) => {
      const found = items.find((one) => one.id === id);
      if (found === undefined) return complete ? WHY_REMOVED : undefined;
      return found.suspended ? WHY_SUSPENDED : undefined;
    };
    let changed = await closeInstallations({ book, whyClosed, nowMs: now() });
    const places: JobPlace[] = [];
    const whole = new Set<number>();
    for (const { id, suspended } of items) {
      if (suspended || !survey.mayPoll(id)) continue;
      try {
        const listed = await survey.repositories(id);
        places.push(...listed.items);
        if (listed.complete) whole.add(id);
      } catch (err) {
        logger.warn({ err, installationId: id }, 'an installation could not be polled');
      }
    }
    const known = groupByPlace(await book.store.listOpenJobs());
    await inParallel(this.#inTurn(places), async (place) => {
      changed = (await this.#look(place, known.get(keyOf(place)) ?? [])) || changed;
    });
    const shown = new Set(places.map(keyOf));
    for (const [key, jobs] of known) {
      if (shown.has(key)) continue;
      const hidden = jobs.filter(({ origin }) => whole.has(origin.installationId));
      changed = (await this.#askOneByOne(hidden)) || changed;
    }
    return changed;
  }

  #inTurn(places: readonly JobPlace[]): readonly JobPlace[] {
    const lastLook = (place: JobPlace) => this.#lookedAtMs.get(keyOf(place)) ?? 0;
    return places.toSorted((a, b) => lastLook(a) - lastLook(b));
  }

  async #look(place: JobPlace, known: readonly JobRecord[]): Promise<boolean> {
    const { survey, logger } = this.#ports;
    if (!survey.mayPoll(place.installationId)) return false;
    try {
      const { items, complete } = await survey.openJobs(place);
      let changed = false;
      for (const facts of items) changed = (await this.#take(facts)) || changed;
      if (!complete) return changed;
      this.#remember(place);
      const listed = new Set<string>(items.map(({ id }) => id));
      const quiet = known.filter(({ id }) => !listed.has(id));
      return (await this.#askOneByOne(quiet)) || changed;
    } catch (err) {
      logger.warn({ err, owner: place.owner, repo: place.repo }, 'a repository was not polled');
      return false;
    }
  }

  /** The author of a refused job was told when it was first heard of. */
  async #take(facts: JobFacts): Promise<boolean> {
    const { book, intake, now, logger } = this.#ports;
    if (book.classify(facts).kind === 'not-ours') return false;
    try {
      const stored = await book.store.readJob(facts.id);
      if (stored?.state === 'refused' && facts.status === 'queued') return false;
      return await intake.applyJobFacts(facts, now());
    } catch (err) {
      logger.warn({ err, jobId: facts.id }, 'a polled job could not be taken in');
      return false;
    }
  }

  #remember(place: JobPlace): void {
    const key = keyOf(place);
    this.#lookedAtMs.delete(key);
    this.#lookedAtMs.set(key, this.#ports.now());
    const [oldest] = this.#lookedAtMs.keys();
    if (this.#lookedAtMs.size > MAX_REMEMBERED && oldest !== undefined)
      this.#lookedAtMs.delete(oldest);
  }

  async #askOneByOne(jobs: readonly JobRecord[]): Promise<boolean> {
    let changed = false;
    for (const job of jobs) changed = (await this.#ask(job)) || changed;
    return changed;
  }

  async #ask(job: JobRecord): Promise<boolean> {
    const { book, jobSource, survey, now, logger } = this.#ports;
    if (!survey.mayPoll(job.origin.installationId)) return false;
    try {
      const facts = await jobSource.readJob(job.origin, job.id);
      if (facts === undefined) return await vanishJob(book, job, now());
      return (await applyJobFacts(book, facts, now())).kind === 'moved';
    } catch (err) {
      logger.warn({ err, jobId: job.id }, 'a job could not be asked about');
      return false;
    }
  }
}

/** Not shown by its repository's list and not found by itself: two answers that agree. */
async function vanishJob(book: JobBook, { id }: JobRecord, nowMs: number): Promise<boolean> {
  const why = 'GitHub does not show this job any more: its run or its repository is gone.';
  let changed = false;
  await book.store.updateJob(id, nowMs, async (stored) => {
    const record = stored === undefined ? undefined : vanish(stored, why, nowMs);
    changed = record !== undefined;
    if (record === undefined) return undefined;
    book.evidence.rememberJob(record);
    await book.evidence.written();
    return record;
  });
  return changed;
}

function groupByPlace(jobs: readonly JobRecord[]): ReadonlyMap<string, readonly JobRecord[]> {
  return Map.groupBy(jobs, ({ origin }) => keyOf(origin));
}

function keyOf({ owner, repo }: Pick<JobPlace, 'owner' | 'repo'>): string {
  return `${owner}/${repo}`.toLowerCase();
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: LOOKS_AT_ONCE }, async () => {
      for (const item of queue) await work(item);
    }),
  );
}
