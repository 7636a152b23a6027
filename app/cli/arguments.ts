/** What several commands read from their line; what is not understood is misuse (exit code 2). */
import { InvalidArgumentError } from 'commander';
import { JobId } from '../../host-agent/protocol/ids.ts';

/** GitHub's id of a job, as its pages and `architect jobs` show it. */
export function parseJobId(text: string): JobId {
  const parsed = JobId.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError("Wants GitHub's number of the job; architect jobs lists them.");
}

export function parseCount(text: string, limit: number): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= limit) return count;
  throw new InvalidArgumentError(`Wants a whole number from 1 to ${limit}.`);
}
