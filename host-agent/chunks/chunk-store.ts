/**
 * One VM's chunks in a store, as one writer or reader sees them.
 *
 *   add ─▶ open pack ─▶ sealed pack ─▶ uploads ─▶ durable ─▶ publish: manifest, then head
 *
 * Invariants
 *   - a head names a manifest only after the manifest and all its packs are durable;
 *   - the head never moves backwards in (epoch, generation), and only from what was seen of it;
 *   - a visible manifest names no pack that the collector may take (grace.ts);
 *   - what is read is verified, or reported.
 *
 * Sealing is synchronous and takes about half a millisecond per chunk: use it in a worker thread.
 */
import { randomBytes } from 'node:crypto';
import type { VmId } from '../protocol/ids.ts';
import type { ChunkCodec, ChunkRef } from './chunk-codec.ts';
import { ConditionFailedError, HeadMovedError, StaleChunkError } from './chunk-errors.ts';
import { ChunkReader, type ReadOptions, type ReadSummary } from './chunk-reader.ts';
import {
  ageMs,
  type Clock,
  DEFAULT_GRACE,
  findStalePacks,
  type Grace,
  isReusable,
  type Moment,
  markMoment,
  SYSTEM_CLOCK,
} from './grace.ts';
import { encodeHead, fetchHead, followHead, type Head } from './head.ts';
import {
  decodeManifest,
  eachManifestRef,
  encodeManifest,
  isNewer,
  type Manifest,
  packsOf,
} from './manifest.ts';
import type { Cancellable, ObjectBackend, PutCondition } from './object-backend.ts';
import { makePackId, PackBuilder, packCreatedAtMs } from './pack.ts';
import { PackUploads } from './pack-uploads.ts';
import { headKey, manifestKey, manifestName } from './store-keys.ts';

const PUBLISH_ATTEMPTS = 4;

export interface VmChunkStoreOptions {
  readonly backend: ObjectBackend;
  readonly codec: ChunkCodec;
  readonly vmId: VmId;
  /** Ends uploads that run on their own. */
  readonly signal: AbortSignal;
  readonly grace?: Grace;
  readonly clock?: Clock;
}

/** The head as last seen, and the packs of its manifest. */
interface SeenHead {
  readonly head: Head;
  readonly packs: ReadonlySet<string>;
}

export class VmChunkStore {
  readonly #options: Required<VmChunkStoreOptions>;
  readonly #uploads: PackUploads;
  readonly #reader: ChunkReader;
  /** What `add` may answer without storing anything, by name. */
  readonly #known = new Map<string, ChunkRef>();
  #open: PackBuilder | undefined;
  #seen: SeenHead | undefined;
  /** The manifest objects put here for the newest point, in case an answer was lost. */
  #attempts: { readonly manifest: Manifest; readonly names: Set<string> } | undefined;

  constructor(options: VmChunkStoreOptions) {
    this.#options = { grace: DEFAULT_GRACE, clock: SYSTEM_CLOCK, ...options };
    this.#uploads = new PackUploads(this.#options);
    const bodyOf = (packId: string) => this.#bodyOf(packId);
    this.#reader = new ChunkReader({ ...this.#options, bodyOf });
  }

  /**
   * Stores the content (1 to CHUNK_BYTES bytes), or finds it stored already. It is durable after the
   * next `flush`. Waits while too many packs are on their way; throws StoreUnavailableError when those
   * have all failed.
   */
  async add(content: Buffer, { signal }: Cancellable): Promise<ChunkRef> {
    const name = this.#options.codec.name(content);
    for (;;) {
      const known = this.#known.get(name);
      if (known !== undefined && this.#mayReuse(known.pack)) return known;
      if (this.#open !== undefined && !this.#open.isFull) break;
      await this.#uploads.room(signal);
      if (this.#open === undefined || this.#open.isFull) this.#nextPack();
    }
    const ref = this.#open.add(this.#options.codec.seal(content, name));
    this.#known.set(name, ref);
    if (this.#open.isFull) this.#closePack();
    return ref;
  }

  /** Resolves when everything added is durable. What failed stays held, and is tried again by the next. */
  async flush({ signal }: Cancellable): Promise<void> {
    this.#closePack();
    await this.#uploads.settle(signal);
  }

  /** Chunks that were added but not flushed are read from memory. See ChunkReader.read. */
  read(refs: Iterable<ChunkRef>, options: ReadOptions): Promise<ReadSummary> {
    return this.#reader.read(refs, options);
  }

  /** The newest manifest, or undefined when there is none; `add` finds its chunks from now on. */
  async readHead({ signal }: Cancellable): Promise<Manifest | undefined> {
    const { backend, codec, vmId } = this.#options;
    const found = await followHead({ backend, vmId, signal }, async ({ manifest, epoch }) => {
      const { body } = await backend.get(manifestKey(vmId, manifest), { signal });
      return decodeManifest(codec, body, { vmId, epoch });
    });
    if (found === undefined) {
      this.#seen = undefined;
      return undefined;
    }
    this.#adopt(found.head, found.value);
    return found.value;
  }

  /**
   * Makes the manifest the VM's newest, after all its packs are durable. The same manifest may be
   * published again when an error left open whether it was. Throws HeadMovedError when the head is at
   * this point or beyond by another's doing, StaleChunkError (which lists nothing visible: add the
   * chunks again), StoreUnavailableError. On failure the head stands where it was, or here.
   */
  async publish(manifest: Manifest, { signal }: Cancellable): Promise<void> {
    const { backend, codec, vmId, clock } = this.#options;
    if (manifest.vmId !== vmId) throw new RangeError('a manifest of another VM');
    await this.flush({ signal });
    const name = manifestName(manifest, randomBytes(8));
    if (this.#attempts?.manifest !== manifest) this.#attempts = { manifest, names: new Set() };
    this.#attempts.names.add(name);
    const begun = markMoment(clock);
    const body = encodeManifest(codec, manifest);
    await backend.put(manifestKey(vmId, name), body, { signal });
    for (let attempt = 1; ; attempt += 1) {
      if (attempt > 1 || this.#seen === undefined) await this.#look(signal);
      if (this.#isPublished(manifest)) return;
      this.#checkNewer(manifest);
      this.#checkStale(manifest, begun);
      if (await this.#moveHead(manifest, { name, signal, last: attempt === PUBLISH_ATTEMPTS }))
        return;
    }
  }

  /** False when the head was not where it was seen. */
  async #moveHead(
    manifest: Manifest,
    { name, signal, last }: { readonly name: string; readonly last: boolean } & Cancellable,
  ): Promise<boolean> {
    const { backend, vmId } = this.#options;
    const condition: PutCondition =
      this.#seen === undefined
        ? { kind: 'absent' }
        : { kind: 'matches', etag: this.#seen.head.etag };
    try {
      const body = encodeHead(vmId, name);
      const { etag } = await backend.put(headKey(vmId), body, { signal, condition });
      const { epoch, generation } = manifest;
      this.#adopt({ epoch, generation, manifest: name, etag }, manifest);
      return true;
    } catch (error) {
      if (last || !(error instanceof ConditionFailedError)) throw error;
      return false;
    }
  }

  #isPublished(manifest: Manifest): boolean {
    const head = this.#seen?.head;
    if (head === undefined || this.#attempts?.names.has(head.manifest) !== true) return false;
    this.#adopt(head, manifest);
    return true;
  }

  #checkNewer(manifest: Manifest): void {
    const head = this.#seen?.head;
    if (head === undefined || isNewer(manifest, head)) return;
    const { epoch, generation } = manifest;
    throw new HeadMovedError(
      'The VM has a newer state in the store than the one to be published.',
      {
        context: { epoch, generation, headEpoch: head.epoch, headGeneration: head.generation },
      },
    );
  }

  #checkStale(manifest: Manifest, begun: Moment): void {
    const { grace, clock } = this.#options;
    const stale = findStalePacks({
      named: packsOf(manifest),
      inHead: this.#seen?.packs ?? new Set(),
      ageMs: (pack) => this.#uploads.ageMs(pack),
      grace,
    });
    const tooLate = ageMs(begun, clock) >= grace.graceMs - grace.marginMs;
    if (stale.length === 0 && !tooLate) return;
    throw new StaleChunkError(
      'A state of the VM was not published: it names chunks that may be collected meanwhile. They have to be added again.',
      { context: { packs: stale.length, tooLate } },
    );
  }

  /** What the head is now. Reads its manifest only when it is another than the one seen. */
  async #look(signal: AbortSignal): Promise<void> {
    const { backend, vmId } = this.#options;
    const head = await fetchHead(backend, vmId, { signal });
    if (head === undefined) this.#seen = undefined;
    else if (this.#attempts?.names.has(head.manifest)) this.#seen = { head, packs: new Set() };
    else if (head.etag !== this.#seen?.head.etag) await this.readHead({ signal });
  }

  /** The chunks of packs that are neither in the head nor young of our own are forgotten. */
  #adopt(head: Head, manifest: Manifest): void {
    const packs = packsOf(manifest);
    this.#seen = { head, packs };
    this.#uploads.forget((pack) => packs.has(pack) || this.#mayReuse(pack));
    for (const [name, { pack }] of this.#known) {
      if (!this.#mayReuse(pack)) this.#known.delete(name);
    }
    for (const ref of eachManifestRef(manifest)) {
      if (!this.#known.has(ref.name)) this.#known.set(ref.name, ref);
    }
  }

  /** A pack of our own has its age measured; another's must be in the head, and is judged by its id. */
  #mayReuse(pack: string): boolean {
    const { grace, clock } = this.#options;
    if (this.#open?.id === pack) return true;
    const own = this.#uploads.ageMs(pack);
    if (own !== undefined) return isReusable(own, grace);
    const foreign = clock.nowMs() - packCreatedAtMs(pack);
    return this.#seen?.packs.has(pack) === true && isReusable(foreign, grace);
  }

  #nextPack(): void {
    this.#closePack();
    this.#open = new PackBuilder(makePackId(this.#options.clock.nowMs(), randomBytes(10)));
  }

  #closePack(): void {
    const pack = this.#open;
    this.#open = undefined;
    if (pack !== undefined && !pack.isEmpty) {
      this.#uploads.start(pack.id, pack.finish(this.#options.codec));
    }
  }

  #bodyOf(packId: string): Buffer | undefined {
    if (this.#open?.id === packId) this.#closePack();
    return this.#uploads.bodyOf(packId);
  }
}
