/** A job's class is no smaller than the VMs of its pool are: what it takes is what is counted. */
import type { PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import { leastMemoryMib } from '../../host-agent/protocol/instance-class.ts';
import type { JobClassification } from '../labels/classify-job.ts';

export function atLeastPool(
  job: JobClassification,
  pool: Pick<PoolSpec, 'accelerator'>,
): JobClassification {
  if (job.kind !== 'served') return job;
  const memoryMib = Math.max(job.class.memoryMib, leastMemoryMib(pool.accelerator));
  return { ...job, class: { ...job.class, memoryMib } };
}
