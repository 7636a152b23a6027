/**
 * The migrations brought up to date with what both hosts of each report, and where that leaves the
 * VMs. Pure. A host is believed about migrations that its record names it for, in that role only.
 */
import type { HostId, VmId } from '../../host-agent/protocol/ids.ts';
import type { MigrationReport } from '../../host-agent/protocol/migration-messages.ts';
import type { VmReport } from '../../host-agent/protocol/vm-report.ts';
import type { ObservedMigration } from '../planner/observed.ts';
import { isOpenMove, type MigrationRecord } from '../records/migration-record.ts';
import { stepMove, stepStored } from '../records/migration-state.ts';
import type { VmRecord } from '../records/records.ts';
import type { FleetHost } from './ports.ts';

export interface AdvancedMove {
  readonly before: MigrationRecord;
  /** The same (by identity) when nothing changed. */
  readonly now: MigrationRecord;
  readonly seen: ObservedMigration;
}

export function advanceMoves(
  records: readonly MigrationRecord[],
  hosts: ReadonlyMap<HostId, FleetHost>,
  nowMs: number,
): readonly AdvancedMove[] {
  return records.map((before) => {
    const words = {
      source: migrationWord(before, 'source', hosts.get(before.from)),
      target: migrationWord(before, 'target', hostOf(before.to, hosts)),
    };
    const vmAtSource = vmWord(before.vmId, hosts.get(before.from));
    const vmAtTarget = vmWord(before.vmId, hostOf(before.to, hosts));
    const now =
      before.kind === 'live'
        ? stepMove(before, { ...words, vmAtTarget }, nowMs)
        : stepStored(before, { source: vmAtSource, target: vmAtTarget }, nowMs);
    const isThere = vmAtTarget !== undefined && vmAtTarget.epoch >= before.epoch;
    const knows = {
      sourceKnows: words.source !== undefined,
      targetKnows: words.target !== undefined || isThere,
    };
    return { before, now, seen: observeMove(now, knows) };
  });
}

/**
 * The VM where its migrations have brought it. Of those that may run it in their target, the highest
 * epoch counts. The same record (by identity) when none has.
 */
export function placeVm(vm: VmRecord, moves: readonly MigrationRecord[]): VmRecord {
  let placed = vm;
  for (const move of moves.toSorted((a, b) => a.epoch - b.epoch)) {
    if (move.epoch > placed.lastEpoch) placed = { ...placed, lastEpoch: move.epoch };
    if (move.to === null || !mayRunAtTarget(move) || isPast(move, placed)) continue;
    placed = { ...placed, hostId: move.to, epoch: move.epoch };
    if (move.kind === 'rewind' && move.phase === 'done') placed = revive(placed, move);
  }
  return placed;
}

/** A source that has given the token away reports the target's epoch already. */
function isPast({ to, epoch }: MigrationRecord, placed: VmRecord): boolean {
  return epoch < placed.epoch || (epoch === placed.epoch && to === placed.hostId);
}

function mayRunAtTarget(move: MigrationRecord): boolean {
  if (move.phase === 'committed' || move.phase === 'done') return true;
  return move.phase === 'lost' && (move.given || move.kind !== 'live');
}

/** It goes on where its checkpoint was, whatever became of it since then. */
function revive(vm: VmRecord, { phaseSinceMs }: MigrationRecord): VmRecord {
  const phase = vm.runsJob === null ? 'assigned' : 'busy';
  return { ...vm, phase, phaseSinceMs, why: null };
}

export function movesByVm(
  moves: readonly MigrationRecord[],
): ReadonlyMap<VmId, readonly MigrationRecord[]> {
  return Map.groupBy(moves, ({ vmId }) => vmId);
}

function migrationWord(
  record: MigrationRecord,
  role: MigrationReport['role'],
  host: FleetHost | undefined,
): MigrationReport | undefined {
  if (!isOpenMove(record) && record.phase !== 'done') return undefined;
  return host?.report?.migrations?.find(
    (word) => word.migrationId === record.id && word.role === role && word.vmId === record.vmId,
  );
}

function vmWord(vmId: VmId, host: FleetHost | undefined): VmReport | undefined {
  if (host?.state !== 'connected') return undefined;
  return host.report?.vms.find((vm) => vm.vmId === vmId);
}

function hostOf(id: HostId | null, hosts: ReadonlyMap<HostId, FleetHost>): FleetHost | undefined {
  return id === null ? undefined : hosts.get(id);
}

function observeMove(
  move: MigrationRecord,
  knows: Pick<ObservedMigration, 'sourceKnows' | 'targetKnows'>,
): ObservedMigration {
  const { id, vmId, kind, from, epoch, phase, given, attempts } = move;
  const { deadlineMs, phaseSinceMs, startedAtMs, bytesLeft } = move;
  return {
    ...{ id, vmId, kind, from, epoch, phase, given, attempts, ...knows },
    ...{ deadlineMs, phaseSinceMs, startedAtMs, bytesLeft },
    to: move.to ?? undefined,
  };
}
