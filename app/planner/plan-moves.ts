/**
 * Which VMs go to another host. Pure.
 *
 *   migrations under way     tended (tend-moves.ts)
 *   sudden deaths            rewound on the next host with room
 *   hosts that go away       their VMs leave (plan-departures.ts)
 *   sizes that jobs want     after that (plan-resizes.ts)
 *   what operators wish      after all that; a VM that its job holds on its host is moved by none
 *
 * Invariants, each a property in plan-moves.test.ts: a VM has one migration at a time; only a tracked
 * one is moved live; no host is sent more than it has room for, arriving VMs counted; an epoch is
 * above all earlier ones of its VM; nothing is aborted once its token is given.
 */
import type { MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { epochOfRewind } from '../../host-agent/protocol/token-messages.ts';
import { isOpenMove } from '../records/migration-record.ts';
import { planEvacuation } from './evacuate.ts';
import type { Judged, World } from './judge-vm.ts';
import { departureOf, soonestFirst } from './leaving.ts';
import type { Observed, ObservedMigration, ObservedVm, ObservedWish } from './observed.ts';
import type { Arrival } from './place.ts';
import { isMovable, leavingVm, moveStep, planDepartures } from './plan-departures.ts';
import { planResize, wantsResize } from './plan-resizes.ts';
import { nextId, type Planning } from './planning.ts';
import { Room } from './room.ts';
import type { Step } from './step.ts';
import { isReachable, tendMove } from './tend-moves.ts';

export interface MovesInput {
  readonly observed: Observed;
  readonly judged: readonly Judged[];
  readonly world: World;
  /** Fresh ids, one per new attempt; when they run out, the other moves wait for the next tick. */
  readonly newMigrationIds: Iterable<MigrationId>;
}

export interface PlannedMoves {
  readonly steps: readonly Step[];
  /** What the steps take up on other hosts. */
  readonly arrivals: readonly Arrival[];
}

export function planMoves({ observed, judged, world, newMigrationIds }: MovesInput): PlannedMoves {
  const { config } = world;
  const departures = observed.hosts
    .flatMap((host) => (isReachable(host) ? (departureOf(host, config) ?? []) : []))
    .sort(soonestFirst)
    .slice(0, config.maxEvacuationsPerTick);
  const rewinds = judged.filter(({ verdict }) => verdict.kind === 'rewindable');
  const open = observed.migrations.filter(isOpenMove).sort(byId);
  const resizes = judged.filter(wantsResize).sort((a, b) => byId(a.vm, b.vm));
  const wanted = rewinds.length + resizes.length + observed.wishes.length;
  if (departures.length + open.length + wanted === 0) return { steps: [], arrivals: [] };
  const planning: Planning = {
    world,
    room: new Room(observed, config),
    ids: newMigrationIds[Symbol.iterator](),
    failed: failedAttempts(observed.migrations),
  };
  const vms = new Map(judged.map((one) => [one.vm.id, one]));
  const tended = open.flatMap((move) => tendMove(move, vms.get(move.vmId)?.vm, planning) ?? []);
  const rewound = rewinds
    .map(({ vm }) => vm)
    .sort(byId)
    .flatMap((vm) => planRewind(vm, planning) ?? []);
  const leaving = planDepartures({ departures, judged, open }, planning);
  const taken = new Set(leaving.map(({ vmId }) => vmId));
  const resized = resizes.flatMap((one) =>
    taken.has(one.vm.id) ? [] : (planResize(one, planning) ?? []),
  );
  for (const step of resized) if (step.kind === 'move-vm') taken.add(step.vmId);
  const wished = [...observed.wishes]
    .sort((a, b) => a.askedAtMs - b.askedAtMs || byId(a, b))
    .flatMap((wish) => {
      const step = planWish(wish, vms.get(wish.vmId), { planning, taken });
      if (step?.kind === 'move-vm') taken.add(wish.vmId);
      return step ?? [];
    });
  return {
    steps: [...tended, ...rewound, ...leaving, ...resized, ...wished],
    arrivals: planning.room.arrivals,
  };
}

function failedAttempts(
  migrations: readonly ObservedMigration[],
): ReadonlyMap<VmId, readonly ObservedMigration[]> {
  const failed = migrations.filter(({ phase, kind }) => phase === 'aborted' && kind === 'live');
  return Map.groupBy(failed, ({ vmId }) => vmId);
}

function planRewind(vm: ObservedVm, planning: Planning): Step | undefined {
  const { room, world } = planning;
  const [target] = room.targets([vm.class], (id) => id !== vm.hostId);
  const migrationId = target === undefined ? undefined : nextId(planning);
  if (target === undefined || migrationId === undefined) return undefined;
  room.take(target.id, vm.class);
  const ageS = Math.round((world.nowMs - (vm.lastCheckpointAtMs ?? world.nowMs)) / 1000);
  return {
    kind: 'resume-vm',
    migrationId,
    vmId: vm.id,
    from: vm.hostId,
    to: target.id,
    epoch: epochOfRewind(vm.lastEpoch),
    how: 'rewound',
    because: `Its host died. It goes on from its checkpoint of ${ageS} s ago.`,
  };
}

/** Acted upon, waited for, or ended with the reason: an operator is told one of them. */
function planWish(
  wish: ObservedWish,
  judged: Judged | undefined,
  { planning, taken }: { readonly planning: Planning; readonly taken: ReadonlySet<VmId> },
): Step | undefined {
  const { world } = planning;
  const endWish = (why: string): Step => ({
    kind: 'end-wish',
    migrationId: wish.id,
    vmId: wish.vmId,
    why,
  });
  const isLate = world.nowMs - wish.askedAtMs >= world.config.wishLimitMs;
  const wait = (why: string) => (isLate ? endWish(why) : undefined);
  if (judged === undefined || judged.verdict.kind === 'gone') return endWish('The VM has ended.');
  const { vm, verdict } = judged;
  if (wish.to === vm.hostId) return endWish('The VM is on that host already.');
  if (vm.held) return endWish('Its job holds the VM on its host; only a notice moves it.');
  if (verdict.kind === 'moving' || taken.has(vm.id))
    return wait('The VM has another move under way.');
  if (!isMovable(judged))
    return wait('The VM is not tracked, or runs no job, so it cannot be moved.');
  if (!isReachable(world.hosts.get(vm.hostId))) return wait('The VM’s host is away.');
  return (
    startWish(wish, vm, planning) ?? wait('No host has room for it, or not in the given time.')
  );
}

function startWish(wish: ObservedWish, vm: ObservedVm, planning: Planning): Step | undefined {
  const { room, world } = planning;
  const { linkBytesPerSecond: rate, moveLimitMs } = world.config;
  const deadlineMs = wish.deadlineMs ?? Number.POSITIVE_INFINITY;
  const [decision] = planEvacuation({
    vms: leavingVm(vm),
    targets: room.targets([vm.class], (id) => id !== vm.hostId && (wish.to ?? id) === id),
    sourceBytesPerSecond: rate,
    deadlineMs,
    nowMs: world.nowMs,
  });
  if (decision?.kind !== 'move') return undefined;
  const giveUpMs = Math.max(decision.endsAtMs, Math.min(deadlineMs, world.nowMs + moveLimitMs));
  const because = 'The operator wants it elsewhere.';
  room.take(decision.to, vm.class);
  return moveStep({ vm, decision, deadlineMs: giveUpMs, because, migrationId: wish.id });
}

function byId(a: { readonly id: string }, b: { readonly id: string }): number {
  return a.id < b.id ? -1 : 1;
}
