/**
 * What the agent's main thread asks of a VM's data worker, and what it hears from it. The worker has
 * the pages, the clusters, the store and the peer; the main thread has QMP, the journals, the token.
 *
 *   open ─▶ listen ─▶ track … (pulsed)                        tracking, on the host that runs the VM
 *           dial ─▶ converge ─▶ finish ─▶ (loaded)  tell …    a departure: the guest is stopped
 *                                                             between `converge` and `finish`
 *   open ─▶ receive … (machine) ─▶ place ─▶ feed … (arrived)  an arrival; then `listen`, `track`
 *
 * `hangUp` ends a departure or an arrival in any of its states; a source then tracks again.
 */
import type { z } from 'zod';
import type { PeerEndpoint } from '../../protocol/migration-messages.ts';
import type { StoreSpec } from '../../protocol/store-spec.ts';
import type { MemoryBaseShare } from '../image/memory-base.ts';
import type { PeerExpectation } from '../peer/hello.ts';
import type { PeerIdentity } from '../peer/peer-tls.ts';

export type Json = z.infer<ReturnType<typeof z.json>>;

export interface OpenData {
  readonly vmId: string;
  readonly base: MemoryBaseShare;
  /** Where the copy of the disk is kept; in a folder of root's. */
  readonly diskImage: string;
  /** Absent: nothing of this VM goes into a store. */
  readonly store: { readonly spec: StoreSpec; readonly key: string } | undefined;
}

export interface ListenData {
  readonly memorySocket: string;
  readonly diskSocket: string;
  readonly diskBytes: number;
  /** Uid of the QEMU that may connect. */
  readonly user: number;
}

interface Peer {
  readonly identity: PeerIdentity;
  readonly expected: PeerExpectation;
}

export interface DialData extends Peer {
  readonly endpoint: PeerEndpoint;
  readonly diskBytes: number;
  readonly facts: Json;
}

export interface ConvergeData {
  /** What may be left when the guest is stopped. */
  readonly budgetBytes: number;
  /** Wall clock; past it, whatever is left must do. */
  readonly deadlineMs: number;
}

export interface ReceiveData extends Peer {
  readonly ports: { readonly first: number; readonly last: number };
  readonly deadlineMs: number;
}

/** One worker's calls; each rejects with what broke. */
export interface DataCommands {
  open(data: OpenData): Promise<void>;
  listen(data: ListenData): Promise<void>;
  /** QEMU streams: pulses begin. */
  track(): Promise<void>;
  /** No more pulses; QEMU's stream is closed. The images stay as they are. */
  untrack(): Promise<void>;
  dial(data: DialData): Promise<void>;
  converge(data: ConvergeData): Promise<Converged>;
  finish(): Promise<void>;
  receive(data: ReceiveData): Promise<{ readonly port: number }>;
  place(data: PlaceData): Promise<void>;
  feed(data: { readonly socket: string }): Promise<void>;
  /** QEMU has loaded it all: the source may give the token. */
  loaded(): Promise<void>;
  tell(message: Json): Promise<void>;
  hangUp(data: { readonly why: string }): Promise<void>;
  /** A move is over and the VM is where it should be: the connection ends in good order. */
  close(): Promise<void>;
}

export interface PlaceData {
  readonly overlay: string;
  readonly user: number;
}

export interface Converged {
  readonly leftBytes: number;
  /** Less than the budget; otherwise the deadline came first. */
  readonly isWithinBudget: boolean;
}

export interface TrackingFigures {
  readonly bytesUnsealed: number;
  readonly bytesInStore: number;
  readonly dirtyBytesPerSecond: number;
}

export interface MoveFigures {
  readonly bytesFromSource: number;
  readonly bytesFromStore: number;
  readonly bytesLeft: number;
}

export type DataEvent =
  | { readonly kind: 'pulsed'; readonly figures: TrackingFigures }
  /** QEMU's stream broke; the guest runs on untracked. */
  | { readonly kind: 'untracked'; readonly why: string }
  | { readonly kind: 'moving'; readonly figures: MoveFigures }
  /** The guest writes faster than the link takes it. */
  | { readonly kind: 'chasing'; readonly leftBytes: number }
  /** To a target: what its source is like. */
  | { readonly kind: 'machine'; readonly facts: Json; readonly diskBytes: number }
  /** To a target: everything is in QEMU, and the overlay is closed. */
  | { readonly kind: 'arrived' }
  /** To a source: the target's QEMU has loaded everything. */
  | { readonly kind: 'loaded' }
  | { readonly kind: 'told'; readonly message: unknown }
  /**
   * The connection between the agents is over, whoever ended it. An arrival's may be long after it,
   * when the VM departs already.
   */
  | { readonly kind: 'hung-up'; readonly of: 'departure' | 'arrival'; readonly why: string };
