/**
 * The world that the model explores: one VM, a few hosts, an arbiter and a network. Everything is
 * plain data, so that a world can be hashed; a transition makes a new one.
 *
 *   host       agent (the machine, in memory) · disk (the journal) · QEMU (a copy, which may run)
 *   network    the set of messages ever sent: each may be delivered at any time, any number of
 *              times, or never. That is loss, delay, duplication, reordering and partition in one.
 *   arbiter    one round at a time, forgotten at any moment (its process ends, Redis is emptied)
 *   store      the claim in the chunk store, which survives everything
 *   provider   knows which hosts are gone; nobody else's silence means that
 */
import { hash } from 'node:crypto';
import type { ArbiterState } from '../../../app/authority/arbiter.ts';
import type { Claim } from '../../../app/authority/rewind.ts';
import type { SourceToken } from '../../../host-agent/authority/source-token.ts';
import type { TargetToken } from '../../../host-agent/authority/target-token.ts';
import type { TokenEntry } from '../../../host-agent/journal/token.ts';
import { HostId } from '../../../host-agent/protocol/ids.ts';
import type {
  PeerMove,
  RunLease,
  TokenMessage,
  TokenVerdict,
} from '../../../host-agent/protocol/token-messages.ts';

export type Machine =
  | { readonly role: 'source'; readonly state: SourceToken }
  | { readonly role: 'target'; readonly state: TargetToken };

/** A guest's memory, disk and devices in a QEMU here, from load or start on. */
export interface Copy {
  /** No other copy has run since this one stood still or was loaded. */
  readonly fresh: boolean;
  readonly running: boolean;
}

export interface Outgoing {
  readonly move: PeerMove;
  readonly stage: 'begun' | 'reserved' | 'loaded';
}

export interface HostWorld {
  readonly id: HostId;
  /** The provider has ended the machine, for good. */
  readonly gone: boolean;
  readonly agentUp: boolean;
  readonly machine: Machine | null;
  readonly disk: TokenEntry | null;
  /** VMs that ended here keep a journal that says so. */
  readonly diskEnded: boolean;
  /** Handed to the disk, not answered yet. */
  readonly writing: TokenEntry | null;
  readonly copy: Copy | null;
  /** The QEMU of what arrived here has ended, and the agent that launched it has seen it. */
  readonly qemuEnded: boolean;
  /** What the agent's migration engine knows of the move that it makes, as the source. */
  readonly outgoing: Outgoing | null;
  /** What the guard of the lease goes by, which outlives the agent. */
  readonly lease: RunLease | null;
}

export type Packet =
  | {
      readonly to: number;
      readonly kind: 'message';
      readonly from: HostId;
      readonly message: TokenMessage;
    }
  | { readonly to: number; readonly kind: 'verdict'; readonly verdict: TokenVerdict };

export interface World {
  readonly hosts: readonly HostWorld[];
  /** Sorted and without doubles, each packet by its number. */
  readonly network: readonly number[];
  readonly arbiter: ArbiterState;
  readonly claim: Claim | null;
  /** A copy ran though another had run since it stood still. */
  readonly outdatedRan: boolean;
  readonly movesBegun: number;
  /** Rounds of the arbiter begun. */
  readonly rounds: number;
  readonly faults: number;
  /** A copy may have been lost by a fault, so that the VM may end without running anywhere. */
  readonly hurt: boolean;
  /** The control plane's clock, in ticks, and what it noted of its leases. */
  readonly ticks: number;
  readonly notes: Notes;
  /** A rewind that is claimed and not started yet. */
  readonly rewinding: Claim | null;
}

export interface Notes {
  readonly leaseUntilMs: number | null;
  readonly sinceMs: number;
  readonly holders: readonly HostId[] | null;
}

export interface Transition {
  readonly label: string;
  readonly world: World;
}

export const NAMES = ['a', 'b', 'c'].map((name) => HostId.parse(name));

export function indexOf(world: World, hostId: HostId): number {
  return world.hosts.findIndex(({ id }) => id === hostId);
}

export function hostAt(world: World, index: number): HostWorld {
  const host = world.hosts[index];
  if (host === undefined) throw new Error(`the model has no host ${index}`);
  return host;
}

export function withHost(world: World, index: number, change: Partial<HostWorld>): World {
  return {
    ...world,
    hosts: world.hosts.map((host, at) => (at === index ? { ...host, ...change } : host)),
  };
}

export function sent(world: World, packet: Packet): World {
  const number = numberOf(packet);
  if (world.network.includes(number)) return world;
  return { ...world, network: [...world.network, number].sort((one, other) => one - other) };
}

export function firstWorld(hosts: number, lease: RunLease | null): World {
  const absent = {
    gone: false,
    agentUp: true,
    machine: null,
    disk: null,
    diskEnded: false,
    writing: null,
    copy: null,
    qemuEnded: false,
    outgoing: null,
    lease: null,
  };
  const tenure = { epoch: 1, from: null, lease };
  const first = {
    machine: { role: 'source' as const, state: { kind: 'holding' as const, tenure } },
    disk: { epoch: 1, holder: { kind: 'self' as const, from: null }, lease },
    copy: { fresh: true, running: true },
    lease,
  };
  const names = NAMES.slice(0, hosts);
  return {
    hosts: names.map((id, index) => ({ id, ...absent, ...(index === 0 ? first : {}) })),
    network: [],
    arbiter: { kind: 'idle' },
    claim: null,
    outdatedRan: false,
    movesBegun: 0,
    rounds: 0,
    faults: 0,
    hurt: false,
    ticks: 0,
    notes: { leaseUntilMs: lease?.untilMs ?? null, sinceMs: 0, holders: names.slice(0, 1) },
    rewinding: null,
  };
}

const packets: Packet[] = [];
const numbers = new Map<string, number>();

function numberOf(packet: Packet): number {
  const text = JSON.stringify(packet);
  const known = numbers.get(text);
  if (known !== undefined) return known;
  numbers.set(text, packets.length);
  return packets.push(packet) - 1;
}

export function packetOf(number: number): Packet {
  const packet = packets[number];
  if (packet === undefined) throw new Error(`the model has no packet ${number}`);
  return packet;
}

const hostTexts = new WeakMap<HostWorld, string>();

function textOf(host: HostWorld): string {
  const known = hostTexts.get(host);
  if (known !== undefined) return known;
  const text = JSON.stringify(host);
  hostTexts.set(host, text);
  return text;
}

/** Two worlds are the same if their keys are: a 128-bit hash of all that they consist of. */
export function keyOf(world: World): string {
  const { hosts, network, arbiter, ...rest } = world;
  const text = hosts.map(textOf).join();
  return hash('md5', `${text}${network.join()}${arbiterText(arbiter)}${restText(rest)}`, 'base64');
}

function arbiterText(arbiter: ArbiterState): string {
  return arbiter.kind === 'idle' ? '-' : JSON.stringify(arbiter);
}

function restText(rest: Omit<World, 'hosts' | 'network' | 'arbiter'>): string {
  const { claim, outdatedRan, movesBegun, rounds, faults, hurt, ticks, notes, rewinding } = rest;
  const timeless = `${outdatedRan} ${movesBegun} ${rounds} ${faults} ${hurt} ${ticks}`;
  return `${timeless} ${JSON.stringify([claim, notes, rewinding])}`;
}
