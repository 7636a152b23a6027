/**
 * What a step of a host's machine does to the world: the token driver's part, effect by effect, so
 * that the agent can end between any two.
 */
import type { TokenEffect } from '../../../host-agent/authority/token-step.ts';
import { hostMs } from './clocks.ts';
import type { Machines } from './machines.ts';
import {
  type HostWorld,
  hostAt,
  indexOf,
  type Machine,
  sent,
  type World,
  withHost,
} from './world.ts';

export interface Outcome {
  readonly machine: Machine;
  readonly effects: readonly TokenEffect[];
}

/** The world after the step; `stopAfter`: the agent ended after so many of its effects. */
export function applyOutcome(
  machines: Machines,
  before: World,
  step: { readonly at: number; readonly outcome: Outcome; readonly stopAfter?: number },
): World {
  const { at, outcome, stopAfter } = step;
  let world = withHost(before, at, { machine: asSource(outcome.machine) });
  for (const effect of outcome.effects.slice(0, stopAfter)) {
    world = runEffect(machines, world, { at, effect });
  }
  if (stopAfter === undefined) return world;
  return crashed(world, at);
}

/** The agent's memory is gone; its disk and its QEMU are not. */
export function crashed(world: World, at: number): World {
  const gone = { machine: null, writing: null, outgoing: null };
  const down = { ...gone, agentUp: false, qemuEnded: false };
  return { ...withHost(world, at, down), hurt: world.hurt || knewThatItNeverRan(world, at) };
}

/** Only the agent itself can know that what it has the token of never ran before it was gone. */
function knewThatItNeverRan(world: World, at: number): boolean {
  const { machine, disk, copy } = hostAt(world, at);
  return machine?.role === 'target' && disk?.holder.kind === 'self' && copy === null;
}

/** A target that has received goes on as a source. */
function asSource(machine: Machine): Machine {
  if (machine.role === 'source' || machine.state.kind !== 'received') return machine;
  return { role: 'source', state: { kind: 'holding', tenure: machine.state.tenure } };
}

function runEffect(
  machines: Machines,
  world: World,
  { at, effect }: { readonly at: number; readonly effect: TokenEffect },
): World {
  const host = hostAt(world, at);
  switch (effect.kind) {
    case 'journal':
      return withHost(world, at, { writing: effect.entry });
    case 'send': {
      const to = indexOf(world, effect.to);
      return sent(world, { to, kind: 'message', from: host.id, message: effect.message });
    }
    case 'resume':
      return resume(machines, world, at);
    case 'remove':
      return withHost(world, at, {
        machine: null,
        disk: null,
        diskEnded: false,
        copy: null,
        qemuEnded: false,
        lease: null,
        outgoing: null,
      });
    case 'run':
    case 'ask-arbiter':
    case 'fence':
      return world;
  }
}

/** The guest goes on, unless its lease has lapsed; without a guest the VM is over. */
export function resume(machines: Machines, world: World, at: number): World {
  const host = hostAt(world, at);
  const lease = leaseOf(host);
  if (host.copy === null) return ended(machines, world, at);
  if (host.copy.running || !machines.leaseAllows(lease, hostMs(world, at))) {
    return withHost(world, at, { lease });
  }
  return {
    ...ran(world, at, { lease }),
    outdatedRan: world.outdatedRan || !host.copy.fresh,
  };
}

/** A copy runs here, and every other one is outdated by it. */
export function ran(world: World, at: number, change: Partial<HostWorld>): World {
  return {
    ...world,
    hosts: world.hosts.map((host, index) => {
      if (index === at) return { ...host, ...change, copy: { fresh: true, running: true } };
      return host.copy === null ? host : { ...host, copy: { ...host.copy, fresh: false } };
    }),
  };
}

function ended(machines: Machines, world: World, at: number): World {
  const host = hostAt(world, at);
  if (host.machine?.role !== 'source') return world;
  const step = machines.stepSource(host.machine.state, { kind: 'ended' });
  if (step.kind !== 'moved') return world;
  return withHost(world, at, { machine: { role: 'source', state: step.state }, diskEnded: true });
}

export function leaseOf(host: HostWorld): HostWorld['lease'] {
  const { machine } = host;
  if (machine === null || !('tenure' in machine.state)) return host.lease;
  return machine.state.tenure.lease;
}
