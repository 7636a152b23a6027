/**
 * Which waiting runner gets which queued job: GitHub gives the oldest job to any idle runner that
 * holds all its labels; nothing reserves a job for the runner that was made for it. Pure.
 */
import { pickOne, type Random } from './random.ts';

export interface Candidate<R> {
  readonly runner: R;
  readonly labels: readonly string[];
}

export interface Wanted<J> {
  readonly job: J;
  readonly labels: readonly string[];
}

export function holdsAll(held: readonly string[], wanted: readonly string[]): boolean {
  const folded = new Set(held.map((label) => label.toLowerCase()));
  return wanted.every((label) => folded.has(label.toLowerCase()));
}

/** Jobs in the order given, oldest first; each runner gets at most one. */
export function chooseRunners<J, R>(
  jobs: readonly Wanted<J>[],
  runners: readonly Candidate<R>[],
  { fits, random }: { readonly fits: (job: J, runner: R) => boolean; readonly random: Random },
): { readonly job: J; readonly runner: R }[] {
  const free = new Set(runners);
  const pairs: { job: J; runner: R }[] = [];
  for (const { job, labels } of jobs) {
    if (free.size === 0) break;
    const able = [...free].filter((one) => holdsAll(one.labels, labels) && fits(job, one.runner));
    const chosen = pickOne(able, random);
    if (chosen === undefined) continue;
    free.delete(chosen);
    pairs.push({ job, runner: chosen.runner });
  }
  return pairs;
}
