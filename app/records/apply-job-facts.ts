/** The one way in which GitHub's word on a job becomes a record: intake, sweeps and recovery. */
import type { JobClassification } from '../labels/classify-job.ts';
import type { Evidence } from '../reconciler/ports.ts';
import { stepJob } from './job-state.ts';
import type { RecordStore } from './record-store.ts';
import type { JobFacts, JobRecord } from './records.ts';

export interface JobBook {
  readonly store: RecordStore;
  readonly evidence: Evidence;
  readonly classify: (facts: JobFacts) => JobClassification;
}

export interface AppliedFacts {
  readonly kind: 'moved' | 'ignored';
  /** As stored now; undefined for a job that is not ours. */
  readonly record: JobRecord | undefined;
  /** The state before; undefined when the job was new. */
  readonly before: JobRecord['state'] | undefined;
}

/**
 * The evidence is on disk before Redis is written. A job that Redis forgot (wiped or expired) is looked up in
 * the evidence, so a late `queued` never starts a finished job again. Throws RecordConflictError.
 */
export async function applyJobFacts(
  book: JobBook,
  facts: JobFacts,
  nowMs: number,
): Promise<AppliedFacts> {
  let before: JobRecord['state'] | undefined;
  let moved = false;
  const classification = book.classify(facts);
  const record = await book.store.updateJob(facts.id, nowMs, async (stored) => {
    const known = stored ?? book.evidence.readJob(facts.id);
    before = known?.state;
    const step = stepJob({ record: known, facts, classification, nowMs });
    moved = step.kind === 'moved';
    if (step.kind === 'ignored') return undefined;
    book.evidence.rememberJob(step.record);
    noteMoments(book.evidence, step.record);
    await book.evidence.written();
    return step.record;
  });
  return { kind: moved ? 'moved' : 'ignored', record, before };
}

function noteMoments(evidence: Evidence, job: JobRecord): void {
  if (job.startedAtMs !== null) evidence.moment(job.id, 'in-progress', job.startedAtMs);
  if (job.completedAtMs !== null) evidence.moment(job.id, 'completed', job.completedAtMs);
}
