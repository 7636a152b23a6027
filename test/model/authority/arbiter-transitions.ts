/** The arbiter's rounds, step by step, each of which may be the last that it remembers. */
import type { ArbiterEffect, ArbiterEvent } from '../../../app/authority/arbiter.ts';
import { wordOfSource, wordOfTarget } from '../../../host-agent/authority/token-word.ts';
import type { HostId } from '../../../host-agent/protocol/ids.ts';
import { epochOfMove, type TokenWord } from '../../../host-agent/protocol/token-messages.ts';
import { controlMs } from './clocks.ts';
import { eitherOutcome, type Site } from './host-transitions.ts';
import type { Machines } from './machines.ts';
import { type HostWorld, hostAt, indexOf, sent, type Transition, type World } from './world.ts';

export function doubtTransitions(site: Site): Transition[] {
  const { world, at, machines, bounds } = site;
  const host = hostAt(world, at);
  if (!host.agentUp || host.writing !== null || world.arbiter.kind !== 'idle') return [];
  if (world.rounds >= bounds.rounds) return [];
  if (eitherOutcome(site, { kind: 'doubt' }) === undefined) return [];
  const { id: hostId } = host;
  const counted = { ...world, rounds: world.rounds + 1 };
  const begun = heard(machines, counted, { label: '', event: { kind: 'doubt', hostId } });
  return begun.flatMap((round) => {
    const asked = askedOf(machines, round.world, at);
    return asked
      .slice(1)
      .map(({ world: after }) => ({ label: `${hostId} is in doubt`, world: after }));
  });
}

export function arbiterTransitions(machines: Machines, world: World): Transition[] {
  const { arbiter } = world;
  switch (arbiter.kind) {
    case 'idle':
      return [];
    case 'asking':
      return askedOf(machines, world, indexOf(world, arbiter.hostId));
    case 'asking-peer':
      return askedOf(machines, world, indexOf(world, arbiter.peer.hostId));
    case 'leasing':
      return leased(machines, world);
  }
}

/** The journal's word, as a host gives it when asked now. */
export function wordOf({ agentUp, writing, machine, disk }: HostWorld): TokenWord | undefined {
  if (!agentUp || writing !== null) return undefined;
  if (machine === null) return disk === null ? { kind: 'none' } : undefined;
  return machine.role === 'source' ? wordOfSource(machine.state) : wordOfTarget(machine.state);
}

/**
 * Silence is always possible, and first. An answer that is long under way is the same as a verdict
 * that is, so both are one transition.
 */
function askedOf(machines: Machines, world: World, at: number): Transition[] {
  const host = hostAt(world, at);
  const answer = (label: string, event: ArbiterEvent) => heard(machines, world, { label, event });
  const { id: hostId } = host;
  const silent = answer(`the arbiter hears nothing from ${hostId}`, {
    kind: 'answer',
    hostId,
    answer: { kind: 'silent' },
  });
  if (host.gone) {
    const event = { kind: 'answer', hostId, answer: { kind: 'gone' } } as const;
    return [...silent, ...answer(`the arbiter hears that ${hostId} is gone`, event)];
  }
  const word = wordOf(host);
  if (word === undefined) return silent;
  const event = { kind: 'answer', hostId, answer: { kind: 'word', word } } as const;
  return [...silent, ...answer(`the arbiter hears ${word.kind} of ${hostId}`, event)];
}

function leased(machines: Machines, world: World): Transition[] {
  const { arbiter, claim } = world;
  if (arbiter.kind !== 'leasing') return [];
  const { hostId, move } = arbiter.grant;
  const judgement = machines.judgeLease({
    hostId,
    epoch: epochOfMove(move.epoch),
    claim: claim ?? undefined,
    nowMs: controlMs(world),
  });
  if (judgement.kind === 'overtaken') {
    return heard(machines, world, { label: `${hostId} is overtaken`, event: judgement });
  }
  const { lease } = judgement;
  const noted = { ...world, notes: withGrant(world, lease.untilMs) };
  const event = { kind: 'leased', lease } as const;
  return heard(machines, noted, { label: `the arbiter has a lease for ${hostId}`, event });
}

/** The control plane notes each lease before it sends it. */
export function withGrant({ notes }: World, untilMs: number): World['notes'] {
  return { ...notes, leaseUntilMs: Math.max(notes.leaseUntilMs ?? 0, untilMs) };
}

/** The control plane notes each host that may come to have the token before it asks it. */
export function withHolder(world: World, hostId: HostId): World {
  const { holders } = world.notes;
  if (holders === null || holders.includes(hostId)) return world;
  return { ...world, notes: { ...world.notes, holders: [...holders, hostId] } };
}

function heard(
  machines: Machines,
  world: World,
  { label, event }: { readonly label: string; readonly event: ArbiterEvent },
): Transition[] {
  const step = machines.stepArbiter(world.arbiter, event);
  if (step.kind === 'ignored') return [];
  const told = step.effects.reduce(tell, { ...world, arbiter: step.state });
  return [{ label, world: told }];
}

function tell(world: World, effect: ArbiterEffect): World {
  if (effect.kind !== 'tell') return world;
  const { hostId, verdict } = effect;
  return sent(world, { to: indexOf(world, hostId), kind: 'verdict', verdict });
}
