/** The migration engine's calls: one move from its reservation to the hand-over, or its end. */
import { beginReservation } from '../../../host-agent/authority/target-token.ts';
import { MigrationId } from '../../../host-agent/protocol/ids.ts';
import {
  epochOfMove,
  isSameMove,
  type PeerMove,
} from '../../../host-agent/protocol/token-messages.ts';
import { withHolder } from './arbiter-transitions.ts';
import { type Site, sourceOutcome, stepped, targetOutcome } from './host-transitions.ts';
import { applyOutcome } from './run-effects.ts';
import { type HostWorld, hostAt, indexOf, type Transition, withHost } from './world.ts';

export function engineTransitions(site: Site): Transition[] {
  const host = hostAt(site.world, site.at);
  if (!host.agentUp || host.writing !== null) return [];
  return [
    ...begun(site),
    ...frozen(site),
    ...loaded(site),
    ...handedOver(site),
    ...aborted(site),
    ...stepped(site, `${host.id} refuses the VM`, targetOutcome(site, { kind: 'refuse', why: '' })),
  ];
}

function begun(site: Site): Transition[] {
  const { world, at, bounds, machines } = site;
  const host = hostAt(world, at);
  const state = host.machine?.role === 'source' ? host.machine.state : undefined;
  if (world.movesBegun >= bounds.moves || host.outgoing !== null) return [];
  if (state?.kind !== 'holding') return [];
  return world.hosts.flatMap((target, to) => {
    const epoch = epochOfMove(state.tenure.epoch);
    if (to === at || !mayReserve(target, epoch)) return [];
    // All other hosts are alike until the first move.
    if (world.movesBegun === 0 && to !== 1) return [];
    const migrationId = MigrationId.parse(`m${world.movesBegun + 1}`);
    const move: PeerMove = { migrationId, epoch, hostId: target.id };
    const noted = withHolder({ ...world, movesBegun: world.movesBegun + 1 }, target.id);
    const asked = withHost(noted, at, { outgoing: { move, stage: 'begun' } });
    const fresh = withHost(asked, to, { copy: null, qemuEnded: false });
    const { state: reserving, effects } = beginReservation({ ...move, hostId: host.id });
    const outcome = { machine: { role: 'target', state: reserving } as const, effects };
    const label = `${migrationId}/${epoch} begins: ${host.id} asks ${target.id} to reserve`;
    return [{ label, world: applyOutcome(machines, fresh, { at: to, outcome }) }];
  });
}

/** The driver's rule: nothing of the VM is here, or a refusal of an epoch that is over. */
function mayReserve({ agentUp, disk, machine, writing }: HostWorld, epoch: number): boolean {
  if (!agentUp || writing !== null) return false;
  if (machine === null) return disk === null;
  return (
    machine.role === 'target' &&
    machine.state.kind === 'refused' &&
    machine.state.move.epoch < epoch
  );
}

/** The target's reservation is told to the source, at any time after. */
export function learned({ world, at }: Site): Transition[] {
  const { outgoing, id } = hostAt(world, at);
  if (outgoing?.stage !== 'begun') return [];
  const { machine, id: to } = hostAt(world, indexOf(world, outgoing.move.hostId));
  const isReserved =
    machine?.role === 'target' &&
    machine.state.kind === 'reserved' &&
    isSameMove(machine.state.move, outgoing.move);
  if (!isReserved) return [];
  const change = { outgoing: { ...outgoing, stage: 'reserved' as const } };
  return [{ label: `${id} hears that ${to} has reserved`, world: withHost(world, at, change) }];
}

function frozen(site: Site): Transition[] {
  const { world, at } = site;
  const { outgoing, copy, id } = hostAt(world, at);
  if (outgoing?.stage !== 'reserved' || copy === null) return [];
  const outcome = sourceOutcome(site, { kind: 'freeze', move: outgoing.move });
  const stopped = withHost(world, at, { copy: { ...copy, running: false } });
  return stepped({ ...site, world: stopped }, `${id} stops its guest and freezes`, outcome);
}

/** The last of the VM arrives at its target, which tells the source. */
function loaded(site: Site): Transition[] {
  const { world, at } = site;
  const { outgoing, machine, copy, id } = hostAt(world, at);
  if (outgoing?.stage !== 'reserved' || copy === null) return [];
  if (machine?.role !== 'source' || machine.state.kind !== 'frozen') return [];
  const to = indexOf(world, outgoing.move.hostId);
  const target = hostAt(world, to).machine;
  if (target?.role !== 'target' || target.state.kind !== 'reserved') return [];
  if (!isSameMove(target.state.move, outgoing.move)) return [];
  const told = withHost(world, at, { outgoing: { ...outgoing, stage: 'loaded' } });
  const there = withHost(told, to, { copy: { ...copy, running: false } });
  const siteThere = { ...site, at: to, world: there };
  const label = `${outgoing.move.hostId} has loaded the VM of ${id}`;
  return stepped(siteThere, label, targetOutcome(siteThere, { kind: 'loaded' }));
}

function handedOver(site: Site): Transition[] {
  const { world, at } = site;
  const { outgoing, id } = hostAt(world, at);
  if (outgoing?.stage !== 'loaded') return [];
  const over = { ...site, world: withHost(world, at, { outgoing: null }) };
  return stepped(over, `${id} hands over`, sourceOutcome(site, { kind: 'hand-over' }));
}

export function aborted(site: Site): Transition[] {
  const { world, at } = site;
  const { outgoing, id, machine } = hostAt(world, at);
  if (machine?.role !== 'source') return [];
  const without = withHost(world, at, { outgoing: null });
  const outcome = sourceOutcome(site, { kind: 'abort' });
  const label = `${id} aborts its move`;
  if (outcome !== undefined) return stepped({ ...site, world: without }, label, outcome);
  return outgoing === null ? [] : [{ label, world: without }];
}
