/**
 * Which queued jobs may have a VM now: those that have one already, then the others in fair order as
 * long as each of their caps has room. Pure. What is held back waits, and nothing is bought for it.
 */
import type { JobId } from '../../host-agent/protocol/ids.ts';
import { fairOrder } from './fair-order.ts';
import type { JobCap, Observed, ObservedJob } from './observed.ts';

export interface Admission {
  /** In the order of service. */
  readonly admitted: readonly ObservedJob[];
  /** Those that wait for a cap, with that cap. */
  readonly held: ReadonlyMap<JobId, JobCap>;
}

export function admitJobs({ jobs, vms }: Pick<Observed, 'jobs' | 'vms'>): Admission {
  const alive = vms.filter(({ phase }) => phase !== 'stopped' && phase !== 'failed');
  const served = new Set(alive.flatMap(({ forJob }) => forJob ?? []));
  const used = new Map<string, number>();
  const count = ({ share }: ObservedJob) => {
    for (const { key } of share.caps) used.set(key, (used.get(key) ?? 0) + 1);
  };
  const queued = fairOrder(jobs);
  for (const job of jobs) if (job.state === 'in-progress') count(job);
  for (const job of queued) if (served.has(job.id)) count(job);
  const held = new Map<JobId, JobCap>();
  const admitted = queued.filter((job) => {
    if (served.has(job.id)) return true;
    const full = job.share.caps.find(({ key, maxVms }) => (used.get(key) ?? 0) >= maxVms);
    if (full === undefined) count(job);
    else held.set(job.id, full);
    return full === undefined;
  });
  return { admitted, held };
}
