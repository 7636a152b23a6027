/**
 * Which jobs are ours: those whose label asks for us, and any other that GitHub has given to one of
 * our runners, which it may do with every job whose labels that runner holds. The second kind is
 * kept so that its VM is known to be at work; no VM is ever started for it.
 */
import type { PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import { classifyJob, type JobClassification } from '../labels/classify-job.ts';
import type { Policy } from '../labels/policy.ts';
import { atLeastPool } from '../pools/at-least-pool.ts';
import type { Evidence } from '../reconciler/ports.ts';
import { type JobFacts, vmIdOfRunner } from '../records/records.ts';

export interface Classifying {
  readonly policy: Policy;
  /** Why the repository's own file adds nothing to it. */
  readonly fault?: string | undefined;
  readonly pool: Pick<PoolSpec, 'accelerator'>;
  /** Another fleet's runners are named as ours are, but their VMs are not known here. */
  readonly evidence: Pick<Evidence, 'readVm'>;
}

export function classifyFacts(facts: JobFacts, given: Classifying): JobClassification {
  const repository = `${facts.origin.owner}/${facts.origin.repo}`;
  const own = atLeastPool(
    classifyJob({ ...facts, repository, fault: given.fault }, given.policy),
    given.pool,
  );
  return own.kind === 'not-ours' ? (classifyTaken(facts, given) ?? own) : own;
}

function classifyTaken(
  { status, runnerName }: JobFacts,
  { evidence }: Classifying,
): JobClassification | undefined {
  if (runnerName === null || (status !== 'in_progress' && status !== 'completed')) return undefined;
  const vmId = vmIdOfRunner(runnerName);
  const vm = vmId === undefined ? undefined : evidence.readVm(vmId);
  if (vm === undefined) return undefined;
  return { kind: 'served', class: vm.class, request: {} };
}
