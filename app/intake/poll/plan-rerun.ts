/**
 * Whether, and how, the lost jobs of one workflow run are run again. Pure.
 *
 *   the run goes on                        → wait: GitHub re-runs nothing of it before
 *   run again 50 times, or marked, or old  → never
 *   somebody has run it again              → never: the lost jobs are of an attempt that is over
 *   one lost job                           → that job, and what depends on it
 *   several                                → all that failed, since the next attempt hides the rest
 */
import type { JobId } from '../../../host-agent/protocol/ids.ts';
import { refusesRerun } from '../../labels/classify-job.ts';

/** GitHub's limit for one workflow run. */
const MAX_RERUNS = 50;
/** What is older is of no use to anybody; GitHub itself allows 30 days. */
const MAX_AGE_MS = 7 * 24 * 3_600_000;

export interface RunJob {
  readonly id: JobId;
  readonly labels: readonly string[];
}

export interface RunLook {
  readonly completed: boolean;
  /** 1 at first. */
  readonly attempt: number;
  /** Of the newest attempt. */
  readonly jobs: readonly RunJob[];
}

export interface LostJob {
  readonly id: JobId;
  readonly lostAtMs: number;
}

export type RerunPlan =
  | { readonly kind: 'wait' }
  | { readonly kind: 'never'; readonly why: string }
  | { readonly kind: 'job'; readonly jobId: JobId }
  | { readonly kind: 'failed' };

/** `run` is undefined where GitHub does not know it any more; `lost` are jobs of this run. */
export function planRerun(
  run: RunLook | undefined,
  lost: readonly LostJob[],
  nowMs: number,
): RerunPlan {
  const never = (why: string) => ({ kind: 'never', why }) as const;
  if (run === undefined) return never('GitHub does not know its workflow run any more.');
  if (run.jobs.some(({ labels }) => refusesRerun(labels)))
    return never('A job of its workflow run is marked rerun=false.');
  if (run.attempt > MAX_RERUNS) return never(`Its workflow run was re-run ${MAX_RERUNS} times.`);
  const shown = lost.filter(({ id }) => run.jobs.some((job) => job.id === id));
  const [first] = shown;
  if (first === undefined) return never('Its workflow run was re-run by somebody.');
  if (shown.every(({ lostAtMs }) => nowMs - lostAtMs > MAX_AGE_MS))
    return never('Its workflow run did not end in time.');
  if (!run.completed) return { kind: 'wait' };
  return shown.length === 1 ? { kind: 'job', jobId: first.id } : { kind: 'failed' };
}
