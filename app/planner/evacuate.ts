/**
 * Evacuation: who leaves a dying host, where to, in which order, how fast. Planned backward from the
 * deadline; bytes and rates decide, never counts of rounds. Pure.
 *
 *   VMs of the host ──order──→ each: target with room ──link time──→ moved before the deadline
 *                                        │ none, or not in time
 *                                        └──→ slowed down ──still not──→ parked
 *
 * The source's link is what all of them share, so moves run one after another on it: side by side
 * they would all end late, one by one the first ones are safe early. Parking needs the link too.
 *
 * Invariants: every VM gets exactly one decision; a target is never given more than it has room for;
 * what is planned to be moved or parked ends before the deadline, or is called `too-late`, with why.
 */
import type { Capacity } from '../../host-agent/protocol/host-facts.ts';
import type { HostId, VmId } from '../../host-agent/protocol/ids.ts';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import { LEAST_CPU_SHARE } from '../../host-agent/protocol/migration-messages.ts';

export interface LeavingVm {
  readonly id: VmId;
  readonly class: InstanceClass;
  /** What only this host has: memory and disk that are not yet in the chunk store. */
  readonly bytesLeft: number;
  /** What comes from the chunk store, over the target's link. */
  readonly bytesInStore: number;
  readonly dirtyBytesPerSecond: number;
  /** A VM without a job is stopped instead: nothing is lost. */
  readonly hasJob: boolean;
}

export interface Target {
  readonly id: HostId;
  readonly free: Capacity;
  readonly bytesPerSecond: number;
}

export interface Evacuation {
  readonly vms: readonly LeavingVm[];
  readonly targets: readonly Target[];
  readonly sourceBytesPerSecond: number;
  readonly deadlineMs: number;
  readonly nowMs: number;
}

export type Decision =
  | {
      readonly kind: 'move';
      readonly vmId: VmId;
      readonly to: HostId;
      /** When its share of the source's link begins and when it is to be gone. */
      readonly startsAtMs: number;
      readonly endsAtMs: number;
      /** The guest's CPU is limited to this share so that its writes fit the link; 1: not at all. */
      readonly cpuShare: number;
    }
  | {
      readonly kind: 'park';
      readonly vmId: VmId;
      readonly startsAtMs: number;
      readonly endsAtMs: number;
      readonly why: string;
    }
  | { readonly kind: 'stop'; readonly vmId: VmId }
  | { readonly kind: 'too-late'; readonly vmId: VmId; readonly why: string };

/** From "stop" at the source to "runs" at the target, and what surrounds it. */
export const MOVE_OVERHEAD_MS = 1_500;
/** Nothing is planned closer to the deadline: clouds are not punctual. */
export const SAFETY_MS = 2_000;
/** A guest may dirty this part of its link while it is copied; more, and copying does not converge. */
const CONVERGING = 0.5;

/** Decisions in the order in which they are to be started. */
export function planEvacuation(evacuation: Evacuation): readonly Decision[] {
  const { vms, deadlineMs, nowMs } = evacuation;
  const idle = vms.filter(({ hasJob }) => !hasJob);
  const order = vms.filter(({ hasJob }) => hasJob).toSorted(leastFirst);
  const room = new Map(evacuation.targets.map((target) => [target.id, target.free]));
  const decisions: Decision[] = idle.map(({ id }) => ({ kind: 'stop', vmId: id }));
  let freeAtMs = nowMs;
  for (const vm of order) {
    const endMs = deadlineMs - SAFETY_MS;
    const decision = decide(vm, { evacuation, room, freeAtMs, endMs });
    decisions.push(decision);
    if (decision.kind === 'move') take(room, decision.to, vm.class);
    if (decision.kind === 'move' || decision.kind === 'park') freeAtMs = decision.endsAtMs;
  }
  return decisions;
}

/** Most VMs are saved when the quickest go first; ties go by id, so that a plan is repeatable. */
function leastFirst(a: LeavingVm, b: LeavingVm): number {
  return workOf(a) - workOf(b) || (a.id < b.id ? -1 : 1);
}

function workOf({ bytesLeft, dirtyBytesPerSecond }: LeavingVm): number {
  return bytesLeft + dirtyBytesPerSecond;
}

interface Situation {
  readonly evacuation: Evacuation;
  readonly room: ReadonlyMap<HostId, Capacity>;
  readonly freeAtMs: number;
  readonly endMs: number;
}

function decide(vm: LeavingVm, situation: Situation): Decision {
  const { freeAtMs, endMs } = situation;
  const best = chooseTarget(vm, situation);
  if (best !== undefined && best.endsAtMs <= endMs) {
    return { kind: 'move', vmId: vm.id, startsAtMs: freeAtMs, ...best };
  }
  const why =
    best === undefined ? 'no host has room for it' : 'its copy would not be ready in time';
  const parkedAtMs = freeAtMs + parkMs(vm, situation.evacuation.sourceBytesPerSecond);
  if (parkedAtMs <= endMs) {
    return { kind: 'park', vmId: vm.id, startsAtMs: freeAtMs, endsAtMs: parkedAtMs, why };
  }
  const missingMs = Math.ceil(parkedAtMs - endMs);
  return { kind: 'too-late', vmId: vm.id, why: `${why}, and parking it lacks ${missingMs} ms` };
}

interface Choice {
  readonly to: HostId;
  readonly endsAtMs: number;
  readonly cpuShare: number;
}

/** The target where it is soonest; among equals the smallest id. */
function chooseTarget(
  vm: LeavingVm,
  { evacuation, room, freeAtMs }: Situation,
): Choice | undefined {
  let best: Choice | undefined;
  for (const target of evacuation.targets) {
    if (!fits(room.get(target.id), vm.class)) continue;
    const rate = Math.min(evacuation.sourceBytesPerSecond, target.bytesPerSecond);
    const speed = planCopy(vm, { rate, storeRate: target.bytesPerSecond });
    if (speed === undefined) continue;
    const endsAtMs = freeAtMs + speed.copyMs + MOVE_OVERHEAD_MS;
    const choice = { to: target.id, endsAtMs, cpuShare: speed.cpuShare };
    if (best === undefined || isBetter(choice, best)) best = choice;
  }
  return best;
}

function isBetter(a: Choice, b: Choice): boolean {
  return a.endsAtMs < b.endsAtMs || (a.endsAtMs === b.endsAtMs && a.to < b.to);
}

/**
 * How long a copy takes that chases a writing guest, and how much the guest must be slowed down for
 * it to end at all. Each second of copying leaves `dirty` bytes to copy again: a geometric series,
 * whose sum is `bytes / (rate - dirty)`. Undefined: no slowing down that is worth it would help.
 */
export function planCopy(
  { bytesLeft, bytesInStore, dirtyBytesPerSecond }: Omit<LeavingVm, 'id' | 'class' | 'hasJob'>,
  { rate, storeRate }: { readonly rate: number; readonly storeRate: number },
): { readonly copyMs: number; readonly cpuShare: number } | undefined {
  const bearable = rate * CONVERGING;
  const cpuShare = dirtyBytesPerSecond <= bearable ? 1 : bearable / dirtyBytesPerSecond;
  if (rate <= 0 || cpuShare < LEAST_CPU_SHARE) return undefined;
  const directMs = (bytesLeft / (rate - dirtyBytesPerSecond * cpuShare)) * 1_000;
  // The store's bytes share the target's link with those from the source.
  const sharedMs = ((bytesLeft + bytesInStore) / storeRate) * 1_000;
  return { copyMs: Math.max(directMs, sharedMs), cpuShare };
}

/** How long a parking takes. A parked guest does not write any more: what is left goes to the store at the link's full rate. */
export function parkMs({ bytesLeft }: LeavingVm, bytesPerSecond: number): number {
  if (bytesPerSecond <= 0) return Number.POSITIVE_INFINITY;
  return (bytesLeft / bytesPerSecond) * 1_000 + MOVE_OVERHEAD_MS;
}

function fits(free: Capacity | undefined, wanted: InstanceClass): boolean {
  if (free === undefined) return false;
  return (
    free.vcpus >= wanted.vcpus &&
    free.memoryMib >= wanted.memoryMib &&
    free.diskGib >= wanted.diskGib
  );
}

function take(room: Map<HostId, Capacity>, hostId: HostId, size: InstanceClass): void {
  const free = room.get(hostId);
  if (free === undefined) return;
  room.set(hostId, {
    vcpus: free.vcpus - size.vcpus,
    memoryMib: free.memoryMib - size.memoryMib,
    diskGib: free.diskGib - size.diskGib,
  });
}
