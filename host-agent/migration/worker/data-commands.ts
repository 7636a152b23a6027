/**
 * What the agent's main thread asks of a VM's data worker, and what it hears from it. The worker has
 * the pages, the clusters, the store and the peer; the main thread has QMP, the journals, the token.
 *
 *   open ─▶ listen ─▶ track … (pulsed)                        tracking, on the host that runs the VM
 *           dial ─▶ converge ─▶ finish ─▶ (loaded)  tell …    a departure: the guest is stopped
 *                                                             between `converge` and `finish`
 *           calm ─▶ capture ─▶ seal ─▶ publish                a checkpoint: the guest is stopped
 *                                                             between `calm` and `capture`
 *   open ─▶ receive … (machine) ─▶ place ─▶ feed … (arrived)  an arrival; then `listen`, `track`
 *   open ─▶ readPoint ─▶ place ─▶ feed ─▶ restore             out of the store; then the same
 *
 * `hangUp` ends a departure, checkpoint or arrival in any of its states; a source then tracks again.
 */
import type { z } from 'zod';
import type { Point } from '../../chunks/manifest.ts';
import type { JobId } from '../../protocol/ids.ts';
import type { PeerEndpoint } from '../../protocol/migration-messages.ts';
import type { StoreSpec } from '../../protocol/store-spec.ts';
import type { MemoryBaseShare } from '../image/memory-base.ts';
import type { PeerExpectation } from '../peer/hello.ts';
import type { PeerIdentity } from '../peer/peer-tls.ts';
import type { CopyRates } from '../plan-throttle.ts';

export type Json = z.infer<ReturnType<typeof z.json>>;

export interface OpenData {
  readonly vmId: string;
  readonly base: MemoryBaseShare;
  /** Where the copy of the disk is kept; in a folder of root's. */
  readonly diskImage: string;
  /** Absent: nothing of this VM goes into a store. */
  readonly store: StoreUse | undefined;
}

export interface StoreUse {
  readonly spec: StoreSpec;
  /** The VM's, base64. */
  readonly key: string;
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
  /** The control plane has named a store since `open`. Idempotent. */
  useStore(store: StoreUse): Promise<void>;
  /** QEMU streams: pulses begin. */
  track(): Promise<void>;
  /** No more pulses; QEMU's stream and the disk's export are gone. The images stay as they are. */
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
  /** What the stream has now is in the image, and QEMU finds it empty. The guest runs. */
  calm(): Promise<void>;
  /** The guest was stopped: reads to the stream's end. From then on the images stand still. */
  capture(): Promise<{ readonly ramSectionId: number }>;
  /** All that was captured is in the store when it resolves, and visible to nobody. */
  seal(data: { readonly limitMs: number }): Promise<SealFigures>;
  /** Makes it the VM's newest manifest. When it rejects, it may have happened or still happen. */
  publish(data: PublishData): Promise<Point>;
  /** Whether the store has any manifest of this VM. */
  isKnown(data: { readonly limitMs: number }): Promise<boolean>;
  /** The newest manifest of the store; undefined when it has none. Blocks and disk are as it says. */
  readPoint(data: { readonly limitMs: number }): Promise<PointFound | undefined>;
  /** After `feed`: gives the bytes that the store gave; QEMU has been sent everything. */
  restore(): Promise<{ readonly bytes: number }>;
  hangUp(data: { readonly why: string }): Promise<void>;
  /** A move is over and the VM is where it should be: the connection ends in good order. */
  close(): Promise<void>;
}

export interface SealFigures {
  /** Of content that was not in the store before. */
  readonly bytes: number;
  readonly ms: number;
}

export interface PublishData {
  readonly epoch: number;
  readonly jobId: JobId | null;
  /** The VM's key as the store may have it. */
  readonly wrappedKey: string;
  readonly facts: Json;
  readonly createdAtMs: number;
  readonly limitMs: number;
}

export interface PointFound extends Point {
  readonly createdAtMs: number;
  readonly facts: Json;
  readonly diskBytes: number;
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
  | { readonly kind: 'chasing'; readonly rates: CopyRates }
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
