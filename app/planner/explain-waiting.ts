/**
 * Why each queued job still waits: one named cause for each. Pure; it looks at the same picture as the
 * planner, after it has planned.
 *
 *   limit-reached   a cap of the policy, or the fleet's own, has no room for it
 *   no-host         no host is connected and admitted
 *   larger-host     no host is large enough, however empty
 *   no-room         the hosts are full; where hosts are bought, one may be on its way
 *   launching       its VM is being started
 *   jit-paced       its VM is ready, but registering its runner now would break GitHub's limits
 *   registering     its VM is ready, its runner is being registered
 *   github          its runner is registered: GitHub has not given it the job yet
 */
import type { JobId } from '../../host-agent/protocol/ids.ts';
import { admitJobs } from './admit-jobs.ts';
import type { JobCap, Observed, ObservedJob, ObservedVm, PlannerConfig } from './observed.ts';
import { openPlacement } from './place.ts';
import { whyLarger } from './why-larger.ts';

export const WAITING_CAUSES = [
  'limit-reached',
  'no-host',
  'larger-host',
  'no-room',
  'launching',
  'jit-paced',
  'registering',
  'github',
] as const;

export interface WaitingCause {
  readonly cause: (typeof WAITING_CAUSES)[number];
  /** A sentence for the job's author. */
  readonly why: string;
}

export interface ExplainInput {
  readonly observed: Observed;
  readonly config: Pick<PlannerConfig, 'maxVms'>;
  /** Whose registration GitHub's limits had no room for just now. */
  readonly paced: ReadonlySet<JobId>;
}

export function explainWaiting({
  observed,
  config,
  paced,
}: ExplainInput): ReadonlyMap<JobId, WaitingCause> {
  const alive = observed.vms.filter(({ phase }) => phase !== 'stopped' && phase !== 'failed');
  const vms = new Map(alive.map((vm) => [vm.forJob, vm]));
  const { admitted, held } = admitJobs(observed);
  const explainUnserved = openExplainer({ observed, full: alive.length >= config.maxVms, config });
  const causes = new Map<JobId, WaitingCause>();
  for (const [id, cap] of held) causes.set(id, heldBack(cap));
  for (const job of admitted) {
    const vm = vms.get(job.id);
    const cause = vm === undefined ? explainUnserved(job) : explainServed(vm, paced.has(job.id));
    causes.set(job.id, cause);
  }
  return causes;
}

function heldBack({ name, maxVms }: JobCap): WaitingCause {
  const why = `It waits for a limit of the policy: ${name} may have ${vmsAtOnce(maxVms)}.`;
  return { cause: 'limit-reached', why };
}

function vmsAtOnce(count: number): string {
  return count === 1 ? 'one VM at a time' : `${count} VMs at a time`;
}

function explainServed({ id, phase }: ObservedVm, paced: boolean): WaitingCause {
  if (phase === 'allocating' || phase === 'starting')
    return { cause: 'launching', why: `Its VM ${id} is being started.` };
  if (phase !== 'idle') {
    const why = `Its runner is registered: GitHub has not given it the job yet (VM ${id}).`;
    return { cause: 'github', why };
  }
  if (!paced)
    return { cause: 'registering', why: `Its VM ${id} is ready; its runner is being registered.` };
  const why = `Its VM ${id} is ready; GitHub's limits leave no room to register its runner now.`;
  return { cause: 'jit-paced', why };
}

/** Asked in the order of service, so that room that an earlier job takes is not promised twice. */
function openExplainer(given: {
  readonly observed: Observed;
  readonly full: boolean;
  readonly config: ExplainInput['config'];
}): (job: ObservedJob) => WaitingCause {
  const { observed, full, config } = given;
  const sizes = observed.hosts
    .filter(({ state }) => state === 'connected')
    .map(({ capacity }) => capacity);
  const placement = openPlacement(observed, []);
  const taken = new Set<string>();
  return ({ class: wanted }) => {
    if (full)
      return { cause: 'limit-reached', why: `The fleet may have ${vmsAtOnce(config.maxVms)}.` };
    if (sizes.length === 0)
      return { cause: 'no-host', why: 'It waits for a host: none is connected and admitted.' };
    const why = whyLarger(wanted, sizes);
    if (why !== undefined) return { cause: 'larger-host', why };
    const shape = JSON.stringify(wanted);
    if (!taken.has(shape) && placement.take(wanted) !== undefined)
      return { cause: 'launching', why: 'A VM is about to be started for it.' };
    taken.add(shape);
    return { cause: 'no-room', why: 'It waits for room: every host is full or not ready yet.' };
  };
}
