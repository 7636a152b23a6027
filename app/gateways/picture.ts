/**
 * What each gateway is to have, from the records and the hosts' addresses. Pure.
 *
 * A VM is where its migrations have brought it, as the reconciler sees it too. It is on its way while
 * a live migration has not been committed; before and after that there is one seat.
 */
import type { GatewayVmSpec, SeatSpec } from '../../host-agent/protocol/gateway-messages.ts';
import type { HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { movesByVm, placeVm } from '../reconciler/advance-moves.ts';
import { isOpenMove, type MigrationRecord } from '../records/migration-record.ts';
import type { VmRecord } from '../records/records.ts';

export interface PictureFacts {
  readonly vms: readonly VmRecord[];
  readonly migrations: readonly MigrationRecord[];
  /** Undefined: the host has not said it since this process began. */
  readonly addressOf: (hostId: HostId) => string | undefined;
  /** The gateway that has the VMs of this one now. */
  readonly actingFor: (gateway: HostId) => HostId;
  readonly proofs: ReadonlyMap<MigrationId, string>;
}

/** By the gateway that acts. */
export type Pictures = ReadonlyMap<HostId, readonly GatewayVmSpec[]>;

export function picturesOf(facts: PictureFacts): Pictures {
  const moves = movesByVm(facts.migrations);
  const pictures = new Map<HostId, GatewayVmSpec[]>();
  for (const vm of facts.vms) {
    if (vm.network === null || vm.phase === 'stopped' || vm.phase === 'failed') continue;
    const gateway = facts.actingFor(vm.network.gateway);
    const { guestAddress, ports = [] } = vm.network;
    const placed = specOf(vm, guestAddress, { facts, moves: moves.get(vm.id) ?? [] });
    const spec = ports.length === 0 ? placed : { ...placed, ports };
    pictures.set(gateway, [...(pictures.get(gateway) ?? []), spec]);
  }
  return pictures;
}

function specOf(
  vm: VmRecord,
  guestAddress: string,
  around: { readonly facts: PictureFacts; readonly moves: readonly MigrationRecord[] },
): GatewayVmSpec {
  const { facts, moves } = around;
  const vmId: VmId = vm.id;
  const open = moves.find(isOpenMove);
  if (open?.phase === 'parked') return { vmId, guestAddress, home: 'stored', move: null };
  if (open?.phase === 'resuming') {
    const home = open.to === null ? 'stored' : seatAt(open.to, open.epoch, facts);
    return { vmId, guestAddress, home, move: null };
  }
  const { hostId, epoch } = placeVm(vm, moves);
  const home = seatAt(hostId, epoch, facts);
  return { vmId, guestAddress, home, move: moveOf(open, facts) };
}

function moveOf(open: MigrationRecord | undefined, facts: PictureFacts): GatewayVmSpec['move'] {
  if (open?.kind !== 'live' || open.phase === 'committed' || open.to === null) return null;
  const target = seatAt(open.to, open.epoch, facts);
  if (target === 'unknown') return null;
  const { id: migrationId, from: source } = open;
  return { migrationId, source, target, proof: facts.proofs.get(migrationId) ?? null };
}

function seatAt(hostId: HostId, epoch: number, { addressOf }: PictureFacts): SeatSpec | 'unknown' {
  const host = addressOf(hostId);
  return host === undefined ? 'unknown' : { host, epoch };
}
