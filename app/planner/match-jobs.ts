/**
 * Which waiting VM serves which queued job. Pure.
 *
 * A VM serves the job that it was started for. GitHub may give that job to another runner; then
 * the VM is spare and serves another queued job instead of being thrown away:
 *
 *   assigned or minted   a job with the same labels, since GitHub may give it any of those
 *   not assigned yet     a job of the same class; once idle it is assigned to it
 *
 * Jobs go in fair order; ties by id, so the order of observation does not matter.
 */
import type { JobId } from '../../host-agent/protocol/ids.ts';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import type { ObservedJob, ObservedVm } from './observed.ts';

export interface Match {
  /** The VM on its way to each job; a job without one is absent. */
  readonly servedBy: ReadonlyMap<JobId, ObservedVm>;
  readonly spare: readonly ObservedVm[];
}

/** `queued` in the order of service, see `fairOrder`. */
export function matchJobs({
  queued,
  waiting,
  jobs,
}: {
  readonly queued: readonly ObservedJob[];
  readonly waiting: readonly ObservedVm[];
  readonly jobs: ReadonlyMap<JobId, ObservedJob>;
}): Match {
  const servedBy = new Map<JobId, ObservedVm>();
  const spares = new Map<string, ObservedVm[]>();
  for (const vm of [...waiting].sort(furthestFirst)) {
    const own = vm.forJob === undefined ? undefined : jobs.get(vm.forJob);
    if (own?.state === 'queued' && !servedBy.has(own.id)) servedBy.set(own.id, vm);
    else append(spares, spareKey(vm, own), vm);
  }
  for (const list of spares.values()) list.reverse();
  for (const job of queued) {
    if (servedBy.has(job.id)) continue;
    const vm =
      spares.get(`labels ${job.labelsKey}`)?.pop() ?? spares.get(classKey(job.class))?.pop();
    if (vm !== undefined) servedBy.set(job.id, vm);
  }
  return { servedBy, spare: [...spares.values()].flat() };
}

const PHASE_ORDER = ['assigned', 'idle', 'starting', 'allocating'];

function furthestFirst(a: ObservedVm, b: ObservedVm): number {
  return PHASE_ORDER.indexOf(a.phase) - PHASE_ORDER.indexOf(b.phase) || (a.id < b.id ? -1 : 1);
}

function spareKey(vm: ObservedVm, own: ObservedJob | undefined): string {
  const minted = vm.runnerId !== undefined || vm.phase === 'assigned' || vm.phase === 'busy';
  if (minted) return own === undefined ? 'nobody' : `labels ${own.labelsKey}`;
  return classKey(vm.class);
}

function classKey({ vcpus, memoryMib, diskGib, arch }: InstanceClass): string {
  return `class ${vcpus}/${memoryMib}/${diskGib}/${arch}`;
}

function append<T>(map: Map<string, T[]>, key: string, item: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [item]);
  else list.push(item);
}
