/** What the record of a lost job says, and what its author is told. Pure. */
import type { JobRecord } from './records.ts';

/** As much as a record takes. */
const MAX_TEXT = 1_000;

/**
 * The cause, and how to have the job run again. It is offered and not done: its steps may have had
 * effects, and GitHub refuses a re-run while the workflow run is still going (GitHub's REST API,
 * "Re-run a job from a workflow run"; cli.github.com/manual/gh_run_rerun).
 */
export function whyLost(cause: string, { id, origin }: Pick<JobRecord, 'id' | 'origin'>): string {
  const command = `gh run rerun --job ${id} --repo ${origin.owner}/${origin.repo}`;
  const again = ` To run it again, once GitHub has ended its run: ${command}`;
  const what = /[.!?]$/.test(cause) ? cause : `${cause}.`;
  return `${what.slice(0, MAX_TEXT - again.length)}${again}`;
}
