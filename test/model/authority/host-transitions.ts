/** Everything that can happen at one host: its machine's events, its disk, its faults. */

import type { SourceEvent } from '../../../host-agent/authority/source-token.ts';
import type { TargetEvent } from '../../../host-agent/authority/target-token.ts';
import { answerWithoutJournal } from '../../../host-agent/authority/token-step.ts';
import type { Bounds } from './bounds.ts';
import type { Machines } from './machines.ts';
import { applyOutcome, crashed, type Outcome, resume } from './run-effects.ts';
import {
  hostAt,
  indexOf,
  type Packet,
  sent,
  type Transition,
  type World,
  withHost,
} from './world.ts';

export interface Site {
  readonly machines: Machines;
  readonly bounds: Bounds;
  readonly world: World;
  readonly at: number;
}

/** A machine's step, whole, and with the agent ending after each of its effects but the last. */
export function stepped(site: Site, label: string, outcome: Outcome | undefined): Transition[] {
  if (outcome === undefined) return [];
  const { machines, world, at } = site;
  const whole = { label, world: applyOutcome(machines, world, { at, outcome }) };
  if (!mayFail(site)) return [whole];
  const cut = outcome.effects.slice(1).map((_, before) => ({
    label: `${label}; its agent ends after ${before + 1} of ${outcome.effects.length} effects`,
    world: faulty(applyOutcome(machines, world, { at, outcome, stopAfter: before + 1 })),
  }));
  return [whole, ...cut];
}

export function sourceOutcome(site: Site, event: SourceEvent): Outcome | undefined {
  const { machine } = hostAt(site.world, site.at);
  if (machine?.role !== 'source') return undefined;
  const step = site.machines.stepSource(machine.state, event);
  if (step.kind !== 'moved') return undefined;
  return { machine: { role: 'source', state: step.state }, effects: step.effects };
}

export function targetOutcome(site: Site, event: TargetEvent): Outcome | undefined {
  const { machine } = hostAt(site.world, site.at);
  if (machine?.role !== 'target') return undefined;
  const step = site.machines.stepTarget(machine.state, event);
  if (step.kind !== 'moved') return undefined;
  return { machine: { role: 'target', state: step.state }, effects: step.effects };
}

/** An event that both machines know. */
export function eitherOutcome(site: Site, event: SourceEvent & TargetEvent): Outcome | undefined {
  return sourceOutcome(site, event) ?? targetOutcome(site, event);
}

/** The disk's answer to a write: done, failed with the old entry, failed with the new one. */
export function writeTransitions(site: Site): Transition[] {
  const { world, at } = site;
  const { id, writing } = hostAt(world, at);
  if (writing === null) return [];
  const name = `${id} journals ${describeEntry(writing)}`;
  const old = withHost(world, at, { writing: null });
  const done = withHost(world, at, { writing: null, disk: writing });
  const good = settleWrite({ ...site, world: done }, name, 'journalled');
  if (!mayFail(site)) return good;
  return [
    ...good,
    ...settleWrite({ ...site, world: faulty(old) }, `${name}: fails`, 'journal-failed'),
    ...settleWrite(
      { ...site, world: faulty(done) },
      `${name}: fails, but is on disk`,
      'journal-failed',
    ),
    { label: `${name}: done, its agent ends`, world: faulty(crashed(done, at)) },
  ];
}

/** Its machine wants the guest to run for the first time: QMP `cont`, or there is no QEMU any more. */
export function runTransitions(site: Site): Transition[] {
  const { world, at, machines } = site;
  const { id, copy, qemuEnded } = hostAt(world, at);
  if (!isStarting(site)) return [];
  if (copy === null && !qemuEnded) {
    return [{ label: `${id} runs what it has not loaded`, world: { ...world, outdatedRan: true } }];
  }
  if (copy === null) {
    return stepped(site, `${id} has nothing to run`, targetOutcome(site, { kind: 'never-ran' }));
  }
  const label = `${id} lets its guest run`;
  const runs = resume(machines, world, at);
  const whole = stepped({ ...site, world: runs }, label, targetOutcome(site, { kind: 'ran' }));
  if (!mayFail(site)) return whole;
  return [...whole, { label: `${label}; its agent ends`, world: faulty(crashed(runs, at)) }];
}

export function isStarting({ world, at }: Pick<Site, 'world' | 'at'>): boolean {
  const { machine } = hostAt(world, at);
  return machine?.role === 'target' && machine.state.kind === 'starting';
}

function settleWrite(site: Site, label: string, kind: 'journalled' | 'journal-failed') {
  const outcome = eitherOutcome(site, { kind });
  return outcome === undefined ? [{ label, world: site.world }] : stepped(site, label, outcome);
}

/** A packet arrives at the agent; while that writes, it waits, which is a delay. */
export function delivered(site: Site, packet: Packet): Transition[] {
  const { world, at } = site;
  const host = hostAt(world, at);
  if (!host.agentUp || host.writing !== null) return [];
  const label = `${host.id} hears ${describePacket(packet)}`;
  if (packet.kind === 'verdict') return stepped(site, label, verdictOutcome(site, packet));
  if (host.machine !== null || host.disk !== null) {
    return stepped(site, label, messageOutcome(site, packet));
  }
  const message = answerWithoutJournal(packet.message);
  if (message === undefined) return [];
  const to = indexOf(world, packet.from);
  return [{ label, world: sent(world, { to, kind: 'message', from: host.id, message }) }];
}

function messageOutcome(site: Site, { from, message }: Extract<Packet, { kind: 'message' }>) {
  return eitherOutcome(site, { kind: 'message', from, message });
}

function verdictOutcome(site: Site, { verdict }: Extract<Packet, { kind: 'verdict' }>) {
  switch (verdict.kind) {
    case 'relay':
      return eitherOutcome(site, { ...verdict, kind: 'message' });
    case 'void':
      return targetOutcome(site, verdict);
    case 'regrant':
    case 'lease':
      return sourceOutcome(site, verdict);
    case 'discard':
      return eitherOutcome(site, verdict);
  }
}

/** The agent ends or starts; the machine restarts or is ended by the provider. */
export function faultTransitions(site: Site): Transition[] {
  const { world, at, bounds } = site;
  const host = hostAt(world, at);
  if (host.gone) return [];
  const starts = host.agentUp ? [] : restarted(site);
  if (world.faults >= bounds.faults) return starts;
  const without = { ...withHost(crashed(world, at), at, { copy: null }), hurt: isHurt(world, at) };
  const end = { label: `${host.id} is gone for good`, world: faulty(gone(without, at)) };
  if (!mayFail(site)) return [...starts, end];
  const crash = { label: `${host.id}'s agent ends`, world: faulty(crashed(world, at)) };
  const cut = { label: `${host.id} loses its power and comes back`, world: faulty(without) };
  const whole = host.copy === null ? [] : [cut, ...withoutQemu(site)];
  return [...starts, ...(host.agentUp ? [crash] : []), ...whole, end];
}

/** What has arrived is gone, and its agent is not: nothing is lost before it ran. */
function withoutQemu({ world, at }: Site): Transition[] {
  const { id, machine } = hostAt(world, at);
  if (machine?.role !== 'target') return [];
  const after = withHost(world, at, { copy: null, qemuEnded: true });
  return [{ label: `${id}'s QEMU ends`, world: faulty(after) }];
}

function mayFail({ world, bounds }: Site): boolean {
  return world.faults < bounds.faults && !bounds.onlyGone;
}

/** The newest copy goes where the token was: a target's is not it before the token has come. */
function isHurt(world: World, at: number): boolean {
  const { copy, disk } = hostAt(world, at);
  const hadToken = disk?.holder.kind === 'self' || disk?.holder.kind === 'given';
  return world.hurt || (copy?.fresh === true && hadToken);
}

/** What its target ran since the switch-over is lost with it: the source's copy is the newest left. */
function gone(world: World, at: number): World {
  const after = withHost(world, at, { gone: true, disk: null, diskEnded: false });
  const { id } = hostAt(world, at);
  return after.hosts.reduce((result, { disk, copy }, index) => {
    const gaveIt = disk?.holder.kind === 'given' && disk.holder.move.hostId === id;
    if (!gaveIt || copy === null) return result;
    return withHost(result, index, { copy: { ...copy, fresh: true } });
  }, after);
}

export function restarted(site: Site): Transition[] {
  const { world, at, machines } = site;
  const host = hostAt(world, at);
  const up = withHost(world, at, { agentUp: true });
  const label = `${host.id}'s agent starts`;
  if (host.disk === null) return [{ label, world: withHost(up, at, { copy: null }) }];
  if (host.diskEnded) {
    const state = { kind: 'ended', epoch: host.disk.epoch } as const;
    return [{ label, world: withHost(up, at, { machine: { role: 'source', state } }) }];
  }
  const recovered = machines.recoverToken(host.disk, host.copy !== null);
  const { effects } = recovered;
  const machine =
    recovered.role === 'source'
      ? { role: recovered.role, state: recovered.state }
      : { role: recovered.role, state: recovered.state };
  return stepped({ ...site, world: up }, label, { machine, effects });
}

export function faulty(world: World): World {
  return { ...world, faults: world.faults + 1 };
}

function describeEntry({ holder, epoch }: { holder: { kind: string }; epoch: number }): string {
  return `${holder.kind} ${epoch}`;
}

function describePacket(packet: Packet): string {
  if (packet.kind === 'message') {
    const { message, from } = packet;
    return `${message.kind} ${message.move.migrationId}/${message.move.epoch} of ${from}`;
  }
  const { verdict } = packet;
  if (verdict.kind !== 'relay') return `the arbiter's ${verdict.kind}`;
  const { move, kind } = verdict.message;
  return `the arbiter's relay of ${kind} ${move.migrationId}/${move.epoch} of ${verdict.from}`;
}
