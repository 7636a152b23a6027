/** What the record of a lost job says, and what its author is told. Pure. */
import type { JobRecord } from './records.ts';

/** As much as a record takes. */
const MAX_TEXT = 1_000;

/**
 * The cause, and how the job comes to run again. Where the operator did not ask for it, that is
 * offered only: its steps may have had effects. GitHub refuses a re-run while the workflow run is
 * still going (GitHub's REST API, "Re-run a job from a workflow run"; cli.github.com/manual/gh_run_rerun).
 */
export function whyLost(
  cause: string,
  { id, origin, rerun }: Pick<JobRecord, 'id' | 'origin' | 'rerun'>,
): string {
  const command = `gh run rerun --job ${id} --repo ${origin.owner}/${origin.repo}`;
  const again =
    rerun === 'wanted'
      ? ' It is run again as soon as GitHub has ended its run.'
      : ` To run it again, once GitHub has ended its run: ${command}`;
  const what = /[.!?]$/.test(cause) ? cause : `${cause}.`;
  return `${what.slice(0, MAX_TEXT - again.length)}${again}`;
}
