/** The size that a running job may have instead of its label's. Pure. */
import { type Refused, refused } from '../../host-agent/protocol/errors.ts';
import type { PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import { leastMemoryMib } from '../../host-agent/protocol/instance-class.ts';
import type { VmSize } from '../../host-agent/protocol/resize-messages.ts';
import { resolveClass } from '../labels/classify-job.ts';
import type { Policy } from '../labels/policy.ts';
import type { JobRecord } from '../records/records.ts';

export interface SizeRules {
  readonly policy: Policy;
  readonly pool: Pick<PoolSpec, 'accelerator' | 'arch'>;
}

/** `name`: a class of the operator's; null: what the job's label asked for. */
export function sizeFor(
  name: string | null,
  job: Pick<JobRecord, 'origin' | 'class'> | undefined,
  { policy, pool }: SizeRules,
): VmSize | Refused {
  if (job === undefined) return refused('The VM runs no job that is known here.');
  if (name === null) return { vcpus: job.class.vcpus, memoryMib: job.class.memoryMib };
  const repository = `${job.origin.owner}/${job.origin.repo}`;
  const resolved = resolveClass({ request: { class: name }, policy, repository });
  if (resolved.kind === 'refused') return resolved;
  if (policy.concurrency.some((rule) => rule.class === name))
    return refused(`class=${name} has a cap of its own: it is to be asked for by the label.`);
  const { arch, vcpus, memoryMib } = resolved.class;
  if (arch !== pool.arch) return refused(`class=${name} is ${arch}, and this VM is ${pool.arch}.`);
  return { vcpus, memoryMib: Math.max(memoryMib, leastMemoryMib(pool.accelerator)) };
}
