/**
 * Breadth first through every reachable world, so that the first fault found has the shortest
 * trace. Worlds are remembered by a 128-bit hash of their text.
 *
 * Shown of each: at most one copy runs, no copy ran that another had overtaken; and, by settle.ts,
 * that from here on, without further faults, it comes to be decided who runs the VM.
 */
import { arbiterTransitions, doubtTransitions } from './arbiter-transitions.ts';
import type { Bounds } from './bounds.ts';
import { engineTransitions, learned } from './engine-transitions.ts';
import {
  delivered,
  eitherOutcome,
  faultTransitions,
  isStarting,
  runTransitions,
  type Site,
  stepped,
  writeTransitions,
} from './host-transitions.ts';
import type { Machines } from './machines.ts';
import { withoutOldPackets } from './old-packets.ts';
import { Settler } from './settle.ts';
import { timeTransitions } from './time-transitions.ts';
import { firstWorld, hostAt, keyOf, packetOf, type Transition, type World } from './world.ts';

export interface Exploration {
  readonly states: number;
  readonly transitions: number;
  readonly depth: number;
  /** Every world within the bounds was seen. */
  readonly complete: boolean;
  readonly fault: Fault | undefined;
}

export interface Fault {
  readonly what: string;
  readonly trace: readonly string[];
}

interface Step {
  readonly from: string;
  readonly label: string;
}

interface Seen {
  readonly world: World;
  readonly key: string;
}

/** Stops at the first fault, or at `bounds.states`. */
export function explore(machines: Machines, bounds: Bounds): Exploration {
  const origin = new Map<string, Step | undefined>();
  const settler = new Settler(machines);
  let transitions = 0;
  let depth = 0;
  const first = firstWorld(bounds.hosts, bounds.rewindable ? { untilMs: FIRST_LEASE_MS } : null);
  let frontier: Seen[] = [{ world: first, key: keyOf(first) }];
  origin.set(keyOf(first), undefined);
  const result = (complete: boolean, fault?: Fault) => ({
    states: origin.size,
    transitions,
    depth,
    complete,
    fault,
  });
  for (; frontier.length > 0; depth += 1) {
    const next: Seen[] = [];
    for (const { world, key } of frontier) {
      const wrong = faultOf(world, settler);
      if (wrong !== undefined) return result(false, describeFault(wrong, key, origin));
      for (const { label, world: reached } of transitionsOf({ machines, bounds, world })) {
        transitions += 1;
        const after = bounds.oldPackets ? reached : withoutOldPackets(reached);
        const keyAfter = keyOf(after);
        if (origin.has(keyAfter)) continue;
        if (origin.size >= bounds.states) return result(false);
        origin.set(keyAfter, { from: key, label });
        next.push({ world: after, key: keyAfter });
      }
    }
    frontier = next;
  }
  return result(true);
}

const FIRST_LEASE_MS = 6 * 5_000;

/**
 * What may happen next. What only the host itself can see (its disk's answer; what its engine hears)
 * is taken first: whatever else can happen before it can happen after it just as well.
 */
export function transitionsOf(scene: {
  readonly machines: Machines;
  readonly bounds: Bounds;
  readonly world: World;
}): Transition[] {
  const { machines, world } = scene;
  const sites = world.hosts.map((_, at): Site => ({ ...scene, at }));
  const busy = sites.find((site) => hostAt(world, site.at).writing !== null || isStarting(site));
  if (busy !== undefined) {
    return [...writeTransitions(busy), ...runTransitions(busy), ...faultTransitions(busy)];
  }
  const heard = sites.flatMap(learned);
  if (heard.length > 0) return heard;
  const local = sites.flatMap((site) => [
    ...engineTransitions(site),
    ...resent(site),
    ...doubtTransitions(site),
    ...faultTransitions(site),
  ]);
  const packets = world.network.flatMap((number) => {
    const packet = packetOf(number);
    return delivered({ ...scene, at: packet.to }, packet);
  });
  return [...local, ...packets, ...arbiterTransitions(machines, world), ...timeTransitions(scene)];
}

function resent(site: Site): Transition[] {
  const host = hostAt(site.world, site.at);
  if (!host.agentUp || host.writing !== null) return [];
  return stepped(site, `${host.id} says it again`, eitherOutcome(site, { kind: 'resend' }));
}

function faultOf(world: World, settler: Settler): string | undefined {
  const running = world.hosts.filter(({ copy }) => copy?.running === true).map(({ id }) => id);
  if (running.length > 1) return `two copies run: on ${running.join(' and ')}`;
  if (world.outdatedRan) return 'a copy ran that another had overtaken';
  return settler.judge(world);
}

function describeFault(
  what: string,
  key: string,
  origin: ReadonlyMap<string, Step | undefined>,
): Fault {
  const trace: string[] = [];
  for (let step = origin.get(key); step !== undefined; step = origin.get(step.from)) {
    trace.push(step.label);
  }
  return { what, trace: trace.reverse() };
}

/** The counter-example, one event a line. */
export function printFault({ what, trace }: Fault): string {
  return [...trace.map((label, index) => `${index + 1}. ${label}`), `→ ${what}`].join('\n');
}
