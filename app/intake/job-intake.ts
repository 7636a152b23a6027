/**
 * Facts into records, and what only the first hearing of a job calls for: the moment it was heard
 * of, and the word to its author when its labels are refused.
 */
import type { Logger } from 'pino';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import type { JobNotices } from '../reconciler/ports.ts';
import { applyJobFacts, type JobBook } from '../records/apply-job-facts.ts';
import type { JobRecord } from '../records/records.ts';
import { closeInstallations } from './close-installation.ts';
import type { JobIntake } from './ports.ts';

export interface JobIntakeOptions {
  readonly book: JobBook;
  readonly notices: Pick<JobNotices, 'refused'>;
  readonly nudge: () => void;
  readonly logger: Logger;
  readonly now?: () => number;
}

/**
 * A refusal that GitHub does not take now rejects, so that the queue tries the event again: the
 * records ignore the second time, and so does the notice when it is there already.
 */
export function createJobIntake(options: JobIntakeOptions): JobIntake {
  const { book, nudge, now = Date.now } = options;
  return {
    nudge,
    closeInstallation: async (closed, why) => {
      const whyClosed = (id: number) => (id === closed ? why : undefined);
      await closeInstallations({ book, whyClosed, nowMs: now() });
    },
    applyJobFacts: async (facts, receivedAtMs) => {
      const { kind, record, before } = await applyJobFacts(book, facts, now());
      if (record === undefined) return false;
      if (before === undefined) {
        book.evidence.moment(record.id, 'webhook-received', receivedAtMs);
        await book.evidence.written();
      }
      if (record.state === 'refused' && facts.status === 'queued') await tell(options, record);
      return kind === 'moved';
    },
  };
}

async function tell({ notices, logger }: JobIntakeOptions, record: JobRecord): Promise<void> {
  const why = record.why ?? 'The label is not allowed.';
  logger.warn({ jobId: record.id, why }, 'a job is refused');
  try {
    await notices.refused(record, why);
  } catch (err) {
    const again = !(err instanceof ArchitectError) || err.retry === 'later';
    logger.warn({ err, jobId: record.id, again }, "the job's author could not be told");
    if (again) throw err;
  }
}
