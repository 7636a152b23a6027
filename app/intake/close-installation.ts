/**
 * When an account suspends or removes the App, no runner can be registered for its jobs any more:
 * those that wait are let go, those that run go on to their end. Should the App come back, the poll
 * finds what still waits there, and takes it up again.
 */
import type { JobBook } from '../records/apply-job-facts.ts';
import { vanish } from '../records/job-state.ts';

export interface Closing {
  readonly book: Pick<JobBook, 'store' | 'evidence'>;
  /** What the author is told; undefined: the installation serves its jobs. */
  readonly whyClosed: (installationId: number) => string | undefined;
  readonly nowMs: number;
}

/** True when a record changed. */
export async function closeInstallations({ book, whyClosed, nowMs }: Closing): Promise<boolean> {
  const { store, evidence } = book;
  let changed = false;
  for (const job of await store.listOpenJobs()) {
    const why = whyClosed(job.origin.installationId);
    if (why === undefined || job.state !== 'queued') continue;
    await store.updateJob(job.id, nowMs, async (stored) => {
      // The App may have been installed anew since: then it is another installation's.
      if (stored?.origin.installationId !== job.origin.installationId) return undefined;
      const record = vanish(stored, why, nowMs);
      if (record === undefined) return undefined;
      changed = true;
      evidence.rememberJob(record);
      await evidence.written();
      return record;
    });
  }
  return changed;
}

export const WHY_SUSPENDED = 'The App is suspended there, so GitHub takes no runner for this job.';
export const WHY_REMOVED = 'The App was removed there, so GitHub takes no runner for this job.';
