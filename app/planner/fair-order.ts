/**
 * In which order waiting jobs are served. Pure.
 *
 *   1. the higher priority
 *   2. the organisation that has fewer jobs running or ahead in this line
 *   3. within it the repository that has fewer
 *   4. the older job; ties by id, so the order of observation does not matter
 *
 * Ten thousand jobs of one repository so make the single job of another wait for one place at most.
 */
import type { ObservedJob } from './observed.ts';

export function oldestFirst(a: ObservedJob, b: ObservedJob): number {
  return a.queuedAtMs - b.queuedAtMs || (a.id < b.id ? -1 : 1);
}

/** Of `jobs`, the queued ones in the order of service; those in progress count for their owners. */
export function fairOrder(jobs: readonly ObservedJob[]): readonly ObservedJob[] {
  const queued = jobs.filter(({ state }) => state === 'queued').sort(oldestFirst);
  const running = jobs.filter(({ state }) => state === 'in-progress');
  const inRepository = ranked({ line: byPriority(queued), running, groupOf: repositoryOf });
  const inOrganization = ranked({ line: inRepository, running, groupOf: ownerOf });
  return byPriority(inOrganization);
}

interface Line {
  readonly line: readonly ObservedJob[];
  readonly running: readonly ObservedJob[];
  readonly groupOf: (job: ObservedJob) => string;
}

/** Each job's rank is how many of its group run or are before it; a stable sort keeps the rest. */
function ranked({ line, running, groupOf }: Line): readonly ObservedJob[] {
  const before = new Map<string, number>();
  const next = (job: ObservedJob) => {
    const group = groupOf(job);
    const rank = before.get(group) ?? 0;
    before.set(group, rank + 1);
    return rank;
  };
  for (const job of running) next(job);
  const ranks = line.map((job) => ({ job, rank: next(job) }));
  return ranks.sort((a, b) => a.rank - b.rank).map(({ job }) => job);
}

function byPriority(line: readonly ObservedJob[]): readonly ObservedJob[] {
  return line.toSorted((a, b) => b.share.priority - a.share.priority);
}

function ownerOf({ share }: ObservedJob): string {
  return share.owner.toLowerCase();
}

function repositoryOf({ share }: ObservedJob): string {
  return `${share.owner}/${share.repo}`.toLowerCase();
}
