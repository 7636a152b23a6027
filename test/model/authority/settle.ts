/**
 * The fair end of every story: from now on nothing fails, what is sent arrives, every agent is up,
 * whoever is in doubt asks. It must come to be decided who runs the VM: one copy runs and nothing
 * is open between hosts; or the VM has ended, which is right only if a copy was lost to a fault.
 */
import { IDLE } from '../../../app/authority/arbiter.ts';
import { openMove } from '../../../app/authority/decide.ts';
import { arbiterTransitions, doubtTransitions, wordOf } from './arbiter-transitions.ts';
import type { Bounds } from './bounds.ts';
import { aborted } from './engine-transitions.ts';
import {
  delivered,
  eitherOutcome,
  restarted,
  runTransitions,
  type Site,
  stepped,
  writeTransitions,
} from './host-transitions.ts';
import type { Machines } from './machines.ts';
import {
  lapsed,
  MAX_CLAIM,
  renewed,
  rewindTransitions,
  ticked,
  woken,
} from './time-transitions.ts';
import { hostAt, keyOf, packetOf, type Transition, type World } from './world.ts';

const MAX_ROUNDS = 30;
const MAX_DELIVERIES = 200;
const NO_FAULTS: Bounds = {
  hosts: 0,
  moves: 0,
  faults: 0,
  onlyGone: false,
  rounds: 1,
  oldPackets: true,
  rewindable: true,
  ticks: 0,
  states: 0,
};

export class Settler {
  readonly #machines: Machines;
  readonly #known = new Map<string, string | undefined>();

  constructor(machines: Machines) {
    this.#machines = machines;
  }

  /** Why it is never decided; undefined: it is. What was sent before counts as lost. */
  judge(world: World): string | undefined {
    const start: World = {
      ...world,
      network: [],
      arbiter: IDLE,
      faults: 0,
      movesBegun: 0,
      rounds: 0,
    };
    const key = keyOf(start);
    if (this.#known.has(key)) return this.#known.get(key);
    const verdict = this.#run(start);
    this.#known.set(key, verdict);
    return verdict;
  }

  #run(start: World): string | undefined {
    let world = start;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      world = this.#round(world);
      const running = world.hosts.filter(({ copy }) => copy?.running === true).length;
      if (running > 1 || world.outdatedRan) return 'two copies run once messages flow again';
      if (!isDecided(world)) continue;
      if (running === 1 || world.hurt || mayNotRewind(world)) return undefined;
      if (world.claim === null) return 'the VM is lost though no copy of it was';
    }
    return `it is never decided who runs the VM: ${describe(world)}`;
  }

  #round(before: World): World {
    let world = before;
    for (const at of world.hosts.keys()) world = this.#tend(world, at);
    for (const at of world.hosts.keys()) {
      world = this.#deliver(this.#each(world, at, (site) => resent(site)));
    }
    for (const at of world.hosts.keys()) world = this.#arbitrate(world, at);
    return this.#keepTime(world);
  }

  /** Restarted if need be; the disk works; moves that are not over are given up. */
  #tend(before: World, at: number): World {
    const host = hostAt(before, at);
    if (host.gone) return before;
    let world = host.agentUp ? before : this.#each(before, at, restarted);
    world = this.#write(world, at);
    world = this.#write(this.#each(world, at, aborted), at);
    return this.#deliver(world);
  }

  /** What was received is run, too, or refused. */
  #write(world: World, at: number): World {
    const written = this.#each(world, at, writeTransitions);
    return this.#each(this.#each(written, at, runTransitions), at, writeTransitions);
  }

  #arbitrate(before: World, at: number): World {
    let world = this.#each({ ...before, rounds: 0 }, at, doubtTransitions);
    for (let steps = 0; world.arbiter.kind !== 'idle' && steps < MAX_ROUNDS; steps += 1) {
      // The last is an answer rather than silence.
      world = arbiterTransitions(this.#machines, world).at(-1)?.world ?? world;
    }
    return this.#deliver(world);
  }

  #keepTime(before: World): World {
    let world = before;
    if (!world.hosts.some(({ lease }) => lease !== null) && world.claim === null) return world;
    const moment = () => ({ machines: this.#machines, bounds: NO_FAULTS, world });
    for (const at of world.hosts.keys()) {
      world = first(renewed(moment(), at)) ?? world;
      world = this.#deliver(world);
      world = first(woken(moment(), at)) ?? world;
      world = first(lapsed(moment(), at)) ?? world;
    }
    world = first(rewindTransitions(moment())) ?? world;
    return first(ticked(moment())) ?? world;
  }

  /** Everything that is sent from now on arrives, the oldest first. */
  #deliver(before: World): World {
    let world = before;
    for (let count = 0; count < MAX_DELIVERIES; count += 1) {
      const [number, ...rest] = world.network;
      if (number === undefined) return world;
      const packet = packetOf(number);
      world = { ...world, network: rest };
      world = this.#each(world, packet.to, (site) => delivered(site, packet));
      world = this.#write(world, packet.to);
    }
    return world;
  }

  #each(world: World, at: number, act: (site: Site) => readonly Transition[]): World {
    const site = { machines: this.#machines, bounds: NO_FAULTS, world, at };
    return first(act(site)) ?? world;
  }
}

function first(transitions: readonly Transition[]): World | undefined {
  return transitions[0]?.world;
}

function resent(site: Site): readonly Transition[] {
  return stepped(site, '', eitherOutcome(site, { kind: 'resend' }));
}

/** The bounds of the model leave no further rewind. */
function mayNotRewind({ claim }: World): boolean {
  return claim !== null && claim.epoch > MAX_CLAIM;
}

function isDecided(world: World): boolean {
  if (world.network.length > 0 || world.rewinding !== null) return false;
  const words = world.hosts.filter(({ gone }) => !gone).map((host) => wordOf(host));
  if (words.some((word) => word === undefined || openMove(word) !== undefined)) return false;
  const holders = words.filter((word) => word?.kind === 'holds').length;
  const running = world.hosts.filter(({ copy }) => copy?.running === true).length;
  return holders === running && holders <= 1;
}

function describe(world: World): string {
  return world.hosts
    .map(
      (host) => `${host.id} ${host.gone ? 'gone' : JSON.stringify(wordOf(host) ?? host.machine)}`,
    )
    .join(', ');
}
