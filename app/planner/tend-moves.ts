/**
 * What becomes of the migrations under way. Pure.
 *
 *   live, token not given   aborted when its target or source goes, when nobody takes it up, when it
 *                           is late or its job is over; the VM is then judged anew, and moves elsewhere
 *   live, token given       left alone: who holds the token decides; closed when nobody can any more
 *   in the store            resumed on the next host with room, unless its job is over
 *
 * Invariants: nothing is aborted once its token is given; a VM is resumed nowhere else while the host
 * that was asked to may run it.
 */
import type { HostId } from '../../host-agent/protocol/ids.ts';
import type { World } from './judge-vm.ts';
import { departureOf, isInterrupted } from './leaving.ts';
import type { ObservedHost, ObservedMigration, ObservedVm } from './observed.ts';
import type { Planning } from './planning.ts';
import type { Step } from './step.ts';

export type Tending = Pick<Planning, 'world' | 'room'>;

/** The step that this migration needs now, if any. `vm` is undefined when its record is gone. */
export function tendMove(
  move: ObservedMigration,
  vm: ObservedVm | undefined,
  tending: Tending,
): Step | undefined {
  if (vm === undefined) return end(move, 'lost', 'The record of its VM is gone.');
  if (move.kind !== 'live') return tendStored(move, vm, tending);
  if (move.phase === 'committed') return tendCommitted(move, tending.world);
  return move.given ? tendGiven(move, tending.world) : tendAbortable(move, vm, tending);
}

/** It runs at the target: if that is gone, the VM is judged by it and no longer by its move. */
function tendCommitted(move: ObservedMigration, { hosts, config, nowMs }: World): Step | undefined {
  const isLate = nowMs - move.phaseSinceMs >= config.doubtLimitMs;
  if (!isLate && !isOut(hostOf(move.to, hosts), config.hostAwayTimeoutMs, nowMs)) return undefined;
  return end(move, 'done', 'Its target took it over and was not heard of again.');
}

function tendGiven(move: ObservedMigration, { hosts, config, nowMs }: World): Step | undefined {
  const out = [move.from, move.to].every((id) =>
    isOut(hostOf(id, hosts), config.hostAwayTimeoutMs, nowMs),
  );
  const isLate = nowMs >= Math.max(move.deadlineMs, move.phaseSinceMs) + config.doubtLimitMs;
  if (!out && !isLate) return undefined;
  return end(move, 'lost', 'Its source had given it away, and nobody told what became of it.');
}

function tendAbortable(
  move: ObservedMigration,
  vm: ObservedVm,
  { world, room }: Tending,
): Step | undefined {
  const why = whyAbort(move, vm, { world, room });
  if (why === undefined) return undefined;
  const { hosts, config, nowMs } = world;
  const [source, target] = [hostOf(move.from, hosts), hostOf(move.to, hosts)];
  const away = config.hostAwayTimeoutMs;
  if (isOut(source, away, nowMs) && isOut(target, away, nowMs)) return end(move, 'aborted', why);
  const asked = {
    source: isReachable(source) ? move.from : undefined,
    target: isReachable(target) ? move.to : undefined,
  };
  // Only who holds the token can say that it is not given, or its target that it never will be.
  const canTell = asked.source !== undefined || (isOut(source, away, nowMs) && asked.target);
  if (canTell === undefined || canTell === false) return undefined;
  return { kind: 'abort-migration', migrationId: move.id, vmId: move.vmId, ...asked, why };
}

function whyAbort(
  move: ObservedMigration,
  vm: ObservedVm,
  { world, room }: Tending,
): string | undefined {
  const { hosts, config, nowMs } = world;
  const [source, target] = [hostOf(move.from, hosts), hostOf(move.to, hosts)];
  if (isJobOver(vm, world)) return 'Its job is over.';
  if (isOut(target, config.hostAwayTimeoutMs, nowMs)) return 'Its target went away.';
  if (isOut(source, config.hostAwayTimeoutMs, nowMs)) return 'Its source went away.';
  if (nowMs >= move.deadlineMs + config.handshakeLimitMs) return 'It was not done in time.';
  const ageMs = nowMs - move.startedAtMs;
  if (!move.sourceKnows && ageMs >= config.handshakeLimitMs)
    return 'Its source did not take it up in time.';
  if (
    target !== undefined &&
    isInterrupted(target) &&
    goesBetterElsewhere(move, vm, { world, room })
  )
    return 'Its target is taken back, too.';
  return undefined;
}

/** To a host that goes away is still better than nowhere, if it stays longer than the source. */
function goesBetterElsewhere(
  move: ObservedMigration,
  vm: ObservedVm,
  { world, room }: Tending,
): boolean {
  if (room.targets([vm.class], (id) => id !== move.from && id !== move.to).length > 0) return true;
  const deadlineOf = (id: HostId | undefined) => {
    const host = hostOf(id, world.hosts);
    const departure = host === undefined ? undefined : departureOf(host, world.config);
    return departure?.deadlineMs ?? Number.POSITIVE_INFINITY;
  };
  return deadlineOf(move.to) <= deadlineOf(move.from);
}

function tendStored(move: ObservedMigration, vm: ObservedVm, tending: Tending): Step | undefined {
  const { hosts, config, nowMs } = tending.world;
  if (nowMs - move.startedAtMs >= config.parkedLimitMs)
    return end(move, 'lost', 'It waited too long for a host with room.');
  if (move.phase === 'resuming') return tendResuming(move, tending.world);
  // A host that vanished while it parked the VM may have got to the end: the store knows.
  const isWaiting =
    move.phase === 'parked' || isOut(hostOf(move.from, hosts), config.hostAwayTimeoutMs, nowMs);
  if (!isWaiting) return undefined;
  if (isJobOver(vm, tending.world)) return end(move, 'lost', 'Its job was over before it went on.');
  if (move.attempts >= config.maxResumes)
    return end(move, 'lost', `${move.attempts} hosts were asked to resume it, and none could.`);
  const [target] = tending.room.targets([vm.class], () => true);
  if (target === undefined) return undefined;
  tending.room.take(target.id, vm.class);
  return resume(move, {
    to: target.id,
    epoch: move.attempts === 0 ? move.epoch : vm.lastEpoch + 1,
    because: 'It waits in the chunk store, and this host has room.',
  });
}

function tendResuming(move: ObservedMigration, world: World): Step | undefined {
  const { hosts, config, nowMs } = world;
  const target = hostOf(move.to, hosts);
  if (move.to === undefined || isOut(target, config.hostAwayTimeoutMs, nowMs))
    return end(move, 'lost', `Its host ${move.to ?? ''} went away while it resumed it.`);
  const isUnheard = !move.targetKnows && nowMs - move.phaseSinceMs >= config.handshakeLimitMs;
  if (!isUnheard || !isReachable(target)) return undefined;
  const { to, epoch } = move;
  return resume(move, { to, epoch, because: 'The host may not have heard it the first time.' });
}

function resume(
  move: ObservedMigration,
  chosen: { readonly to: HostId; readonly epoch: number; readonly because: string },
): Step {
  const { id: migrationId, vmId, from, kind } = move;
  const how = kind === 'rewind' ? 'rewound' : 'parked';
  return { kind: 'resume-vm', migrationId, vmId, from, how, ...chosen };
}

/** It cannot get its job done any more, or has. */
function isJobOver(vm: ObservedVm, { jobs }: World): boolean {
  const jobId = vm.runsJob ?? vm.forJob;
  const state = jobId === undefined ? undefined : jobs.get(jobId)?.state;
  return state === undefined || state === 'completed' || state === 'refused';
}

function hostOf(id: HostId | undefined, hosts: World['hosts']): ObservedHost | undefined {
  return id === undefined ? undefined : hosts.get(id);
}

/** Its agent will surely, or most likely, not answer again. */
function isOut(host: ObservedHost | undefined, awayTimeoutMs: number, nowMs: number): boolean {
  if (host === undefined) return true;
  if (isReachable(host)) return false;
  return host.gone || nowMs - host.stateSinceMs >= awayTimeoutMs;
}

export function isReachable(host: ObservedHost | undefined): boolean {
  return host?.state === 'connected' || host?.state === 'draining';
}

function end(move: ObservedMigration, phase: 'done' | 'aborted' | 'lost', why: string): Step {
  return { kind: 'end-migration', migrationId: move.id, vmId: move.vmId, phase, why };
}
