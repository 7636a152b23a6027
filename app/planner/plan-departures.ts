/**
 * How the hosts that go away are emptied: each one's VMs in the order of `planEvacuation`, so many at
 * once as its link bears, and what does not get away in time parked. Pure.
 *
 *   notice, deadline   moved, or parked as late as is still safe, since until then there may be room
 *   drain, rebalance   moved when there is room, never parked; what its job holds here stays
 *
 * A move is given up while there is still time to park instead, and is then planned anew.
 */
import type { HostId, MigrationId } from '../../host-agent/protocol/ids.ts';
import {
  type Decision,
  type LeavingVm,
  parkMs,
  planEvacuation,
  SAFETY_MS,
  type Target,
} from './evacuate.ts';
import type { Judged } from './judge-vm.ts';
import { type Departure, mustLeave } from './leaving.ts';
import type { ObservedMigration, ObservedVm } from './observed.ts';
import { nextId, type Planning } from './planning.ts';
import type { Step } from './step.ts';

/** Parking begins when this many times its estimated length is left. */
const PARK_MARGIN = 2;
/** For how long a target that an attempt failed on is passed over while there are others. */
const FAILED_TARGET_MS = 60_000;

type MoveStep = Extract<Step, { readonly kind: 'move-vm' }>;
type ParkStep = Extract<Step, { readonly kind: 'park-vm' }>;

export interface Departures {
  readonly departures: readonly Departure[];
  readonly judged: readonly Judged[];
  readonly open: readonly ObservedMigration[];
}

export function planDepartures(
  { departures, judged, open }: Departures,
  planning: Planning,
): readonly (MoveStep | ParkStep)[] {
  if (departures.length === 0) return [];
  const byHost = new Map<HostId, ObservedVm[]>(departures.map(({ host }) => [host.id, []]));
  for (const one of judged) if (isMovable(one)) byHost.get(one.vm.hostId)?.push(one.vm);
  return departures.flatMap((departure) => {
    const outgoing = open.filter((move) => isOutgoing(move, departure.host.id));
    const there = byHost.get(departure.host.id) ?? [];
    const vms = mustLeave(departure) ? there : there.filter(({ held }) => !held);
    return vms.length === 0 ? [] : evacuate({ departure, vms, outgoing }, planning);
  });
}

/** It lives, its job is not over, and what moving it would cost is known. */
export function isMovable({ vm, verdict }: Judged): boolean {
  if (verdict.kind !== 'running' && verdict.kind !== 'waiting') return false;
  return vm.tracking !== undefined && vm.keyed && (vm.phase === 'assigned' || vm.phase === 'busy');
}

/** Nothing for a VM that is not tracked. */
export function leavingVm({ id, class: size, tracking }: ObservedVm): readonly LeavingVm[] {
  if (tracking === undefined) return [];
  return [
    {
      id,
      class: size,
      bytesLeft: tracking.bytesUnsealed,
      bytesInStore: tracking.bytesInStore,
      dirtyBytesPerSecond: tracking.dirtyBytesPerSecond,
      hasJob: true,
    },
  ];
}

export function moveStep(move: {
  readonly migrationId: MigrationId;
  readonly vm: ObservedVm;
  readonly decision: Extract<Decision, { readonly kind: 'move' }>;
  readonly deadlineMs: number;
  readonly because: string;
}): MoveStep {
  const { migrationId, vm, decision, deadlineMs, because } = move;
  return {
    kind: 'move-vm',
    migrationId,
    vmId: vm.id,
    from: vm.hostId,
    to: decision.to,
    epoch: vm.lastEpoch + 1,
    deadlineMs: Math.ceil(deadlineMs),
    cpuShare: decision.cpuShare,
    because,
  };
}

interface Leaving {
  readonly departure: Departure;
  readonly vms: readonly ObservedVm[];
  readonly outgoing: readonly ObservedMigration[];
}

/** It uses the source's link. */
function isOutgoing(move: ObservedMigration, hostId: HostId): boolean {
  if (move.from !== hostId) return false;
  return move.kind === 'live' ? move.phase !== 'committed' : move.phase === 'parking';
}

function evacuate(leaving: Leaving, planning: Planning): readonly (MoveStep | ParkStep)[] {
  const { departure, vms, outgoing } = leaving;
  const decisions = decide(leaving, planning);
  const parkAtMs = latestParking(departure, decisions);
  const byId = new Map(vms.map((vm) => [vm.id, vm]));
  let slots = planning.world.config.maxMovesPerSource - outgoing.length;
  const steps: (MoveStep | ParkStep)[] = [];
  for (const decision of decisions) {
    if (slots <= 0) break;
    const vm = byId.get(decision.vmId);
    const step =
      vm === undefined ? undefined : act(decision, { vm, departure, parkAtMs, planning });
    if (step === undefined || vm === undefined) continue;
    if (step.kind === 'move-vm') planning.room.take(step.to, vm.class);
    steps.push(step);
    slots -= 1;
  }
  return steps;
}

function decide({ departure, vms, outgoing }: Leaving, planning: Planning): readonly Decision[] {
  const { config, nowMs } = planning.world;
  const bytesUnderWay = outgoing.reduce((sum, { bytesLeft }) => sum + bytesLeft, 0);
  return planEvacuation({
    vms: vms.flatMap(leavingVm),
    targets: targetsFor(vms, planning),
    sourceBytesPerSecond: config.linkBytesPerSecond,
    deadlineMs: departure.deadlineMs,
    nowMs: nowMs + (bytesUnderWay / config.linkBytesPerSecond) * 1000,
  });
}

/** Targets on which one of these failed lately count only when there is no other. */
function targetsFor(
  vms: readonly ObservedVm[],
  { room, failed, world }: Planning,
): readonly Target[] {
  const sizes = vms.map((vm) => vm.class);
  const failures = vms.flatMap((vm) => failed.get(vm.id) ?? []);
  const failedWithin = (ageMs: number) =>
    new Set(
      failures.flatMap(({ to, phaseSinceMs }) =>
        to !== undefined && world.nowMs - phaseSinceMs < ageMs ? [to] : [],
      ),
    );
  const passedOver = failedWithin(FAILED_TARGET_MS);
  const others = room.targets(sizes, (id) => !passedOver.has(id));
  if (others.length > 0 || passedOver.size === 0) return others;
  const resting = failedWithin(world.config.moveRetryMs);
  return room.targets(sizes, (id) => !resting.has(id));
}

/** Until when those that are to be parked may wait for room elsewhere. */
function latestParking({ deadlineMs }: Departure, decisions: readonly Decision[]): number {
  if (decisions.some(({ kind }) => kind === 'too-late')) return Number.NEGATIVE_INFINITY;
  const neededMs = decisions.reduce(
    (sum, one) => sum + (one.kind === 'park' ? one.endsAtMs - one.startsAtMs : 0),
    0,
  );
  return deadlineMs - SAFETY_MS - PARK_MARGIN * neededMs;
}

interface Acting {
  readonly vm: ObservedVm;
  readonly departure: Departure;
  readonly parkAtMs: number;
  readonly planning: Planning;
}

function act(decision: Decision, acting: Acting): MoveStep | ParkStep | undefined {
  if (decision.kind === 'stop') return undefined;
  return decision.kind === 'move' ? move(decision, acting) : park(decision, acting);
}

function move(
  decision: Extract<Decision, { readonly kind: 'move' }>,
  { vm, departure, planning }: Acting,
): MoveStep | undefined {
  const { config, nowMs } = planning.world;
  const migrationId = nextId(planning);
  if (migrationId === undefined) return undefined;
  const [leaving] = leavingVm(vm);
  const parkingMs = leaving === undefined ? 0 : parkMs(leaving, config.linkBytesPerSecond);
  const lastMs = Math.min(nowMs + config.moveLimitMs, departure.deadlineMs - SAFETY_MS - parkingMs);
  const deadlineMs = Math.max(decision.endsAtMs, lastMs);
  return moveStep({ migrationId, vm, decision, deadlineMs, because: departure.because });
}

/** What is too late for anything sure is parked all the same, for clouds are not punctual. */
function park(
  decision: Extract<Decision, { readonly kind: 'park' | 'too-late' }>,
  { vm, departure, parkAtMs, planning }: Acting,
): ParkStep | undefined {
  const { config, nowMs } = planning.world;
  const { deadlineMs, because } = departure;
  if (!config.canPark || !Number.isFinite(deadlineMs) || nowMs < parkAtMs) return undefined;
  const migrationId = nextId(planning);
  if (migrationId === undefined) return undefined;
  return {
    kind: 'park-vm',
    migrationId,
    vmId: vm.id,
    from: vm.hostId,
    epoch: vm.lastEpoch + 1,
    deadlineMs: Math.round(deadlineMs),
    because: `${because} It is parked: ${decision.why}.`,
  };
}
