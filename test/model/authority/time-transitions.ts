/**
 * Time, leases and the rewind. The guard that stops a guest at its lease's end outlives the agent
 * (it is assumed to), and needs less than GUEST_STOP_LIMIT_MS.
 */
import { type Claim, grantLease } from '../../../app/authority/rewind.ts';
import { mayRun } from '../../../host-agent/authority/source-token.ts';
import { ERA, GUEST_STOP_LIMIT_MS } from '../../../host-agent/protocol/token-messages.ts';
import { withGrant, withHolder, wordOf } from './arbiter-transitions.ts';
import type { Bounds } from './bounds.ts';
import { controlMs, hostMs } from './clocks.ts';
import { faulty } from './host-transitions.ts';
import type { Machines } from './machines.ts';
import { ran, resume } from './run-effects.ts';
import { hostAt, indexOf, sent, type Transition, type World, withHost } from './world.ts';

/** A lease is renewed every so many ticks. */
const RENEWAL_TICKS = 6;
/** The epoch of the only checkpoint, made at the VM's start. */
const CHECKPOINT_EPOCH = 1;

/** So many rewinds at most. */
export const MAX_CLAIM = 2 * ERA - 1;

interface Moment {
  readonly machines: Machines;
  readonly bounds: Bounds;
  readonly world: World;
}

export function timeTransitions(moment: Moment): Transition[] {
  if (!moment.bounds.rewindable) return [];
  const { world, bounds } = moment;
  return [
    ...(world.ticks < bounds.ticks ? ticked(moment) : []),
    ...world.hosts.flatMap((_, at) => [
      ...lapsed(moment, at),
      ...woken(moment, at),
      ...renewed(moment, at),
    ]),
    ...rewindTransitions(moment),
    ...(world.faults < bounds.faults ? forgotten(world) : []),
  ];
}

export function ticked({ machines, world }: Moment): Transition[] {
  const later = { ...world, ticks: world.ticks + 1 };
  const isLate = later.hosts.some(
    ({ copy, lease }, at) =>
      copy?.running === true &&
      !machines.leaseAllows(lease, hostMs(later, at) - GUEST_STOP_LIMIT_MS - 1),
  );
  return isLate ? [] : [{ label: `time passes: ${later.ticks}`, world: later }];
}

export function lapsed({ machines, world }: Moment, at: number): Transition[] {
  const { copy, lease, id } = hostAt(world, at);
  if (copy?.running !== true || machines.leaseAllows(lease, hostMs(world, at))) return [];
  const stopped = withHost(world, at, { copy: { ...copy, running: false } });
  return [{ label: `${id} stops its guest: the lease has lapsed`, world: stopped }];
}

/** The guest that stood still for its lease goes on with a new one. */
export function woken({ machines, world }: Moment, at: number): Transition[] {
  const { machine, copy, agentUp, writing, id, outgoing } = hostAt(world, at);
  const isHeld = machine?.role === 'source' && mayRun(machine.state);
  if (!agentUp || writing !== null || !isHeld || copy?.running !== false || outgoing !== null) {
    return [];
  }
  const after = resume(machines, world, at);
  return hostAt(after, at).copy?.running === true
    ? [{ label: `${id} goes on with its guest`, world: after }]
    : [];
}

/** The holder, known by its word, gets a new lease, or hears that it was overtaken. */
export function renewed({ machines, world }: Moment, at: number): Transition[] {
  const host = hostAt(world, at);
  const word = wordOf(host);
  const isDue = world.ticks % RENEWAL_TICKS === 0;
  if (word?.kind !== 'holds' || word.lease === null || !isDue) return [];
  const { epoch } = word;
  const claim = world.claim ?? undefined;
  const nowMs = controlMs(world);
  const judgement = machines.judgeLease({ hostId: host.id, epoch, claim, nowMs });
  if (judgement.kind === 'overtaken') {
    const verdict = { kind: 'discard', below: judgement.below, why: '' } as const;
    const told = sent(world, { to: at, kind: 'verdict', verdict });
    return [{ label: `${host.id} is overtaken`, world: told }];
  }
  const { lease } = judgement;
  const noted = { ...world, notes: withGrant(world, lease.untilMs) };
  const verdict = { kind: 'lease', epoch, lease } as const;
  const label = `the control plane renews ${host.id}'s lease`;
  return [{ label, world: sent(noted, { to: at, kind: 'verdict', verdict }) }];
}

/** Judge, claim, judge again, start. */
export function rewindTransitions({ machines, world }: Moment): Transition[] {
  if (!mayRewind(machines, world)) return [];
  if (world.rewinding !== null) return started(world, world.rewinding);
  const at = world.hosts.findLastIndex((host) => host.agentUp && wordOf(host)?.kind === 'none');
  const host = world.hosts[at];
  if (host === undefined) return [];
  const { claim } = world;
  if ((claim?.epoch ?? 0) > MAX_CLAIM) return [];
  const epoch = machines.epochOfRewind(claim?.epoch ?? CHECKPOINT_EPOCH);
  const wanted = { hostId: host.id, epoch };
  const noted = withHolder(world, host.id);
  const label = `the control plane claims a rewind on ${host.id}`;
  return [{ label, world: { ...noted, claim: wanted, rewinding: wanted } }];
}

function mayRewind(machines: Machines, world: World): boolean {
  const { leaseUntilMs, sinceMs, holders } = world.notes;
  const judgement = machines.judgeRewind({
    leaseUntilMs: leaseUntilMs ?? undefined,
    notedSinceMs: sinceMs,
    holders: holders ?? undefined,
    gone: new Set(world.hosts.filter(({ gone }) => gone).map(({ id }) => id)),
    nowMs: controlMs(world),
  });
  return judgement.kind === 'rewind';
}

function started(world: World, { epoch, hostId }: Claim): Transition[] {
  const at = indexOf(world, hostId);
  const host = hostAt(world, at);
  const dropped = { ...world, rewinding: null };
  const label = 'the rewind finds its host gone or taken';
  if (host.gone) return [{ label, world: { ...dropped, hurt: true } }];
  const word = wordOf(host);
  if (word === undefined) return [];
  if (word.kind !== 'none') return [{ label, world: dropped }];
  const lease = grantLease(controlMs(world));
  const tenure = { epoch, from: null, lease };
  const state = { kind: 'holding', tenure } as const;
  const holder = { kind: 'self', from: null } as const;
  const machine = { role: 'source', state } as const;
  const begun = ran(world, at, { machine, disk: { epoch, holder, lease }, lease });
  const notes = withGrant(world, lease.untilMs);
  return [
    { label: `${host.id} starts from the checkpoint`, world: { ...begun, rewinding: null, notes } },
  ];
}

function forgotten(world: World): Transition[] {
  if (world.notes.leaseUntilMs === null) return [];
  const notes = { leaseUntilMs: null, sinceMs: controlMs(world), holders: null };
  return [{ label: 'Redis is emptied', world: faulty({ ...world, notes }) }];
}
