/**
 * A checkpoint's side in the data worker: the guest's last words, then all of it into the store.
 *
 *   calm: pulses rest, nothing waits in the stream ─▶ (main thread stops the guest) ─▶ capture: to the
 *   stream's end ─▶ seal: chunks ─▶ publish: manifest, then head
 *
 * From `capture` until tracking begins anew nothing changes in the images. A failing `seal` or
 * `publish` leaves them and what is in the store as they are; both can be called again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CHUNK_BYTES, type ChunkRef } from '../../chunks/chunk-codec.ts';
import { StaleChunkError, StoreUnavailableError } from '../../chunks/chunk-errors.ts';
import { fetchHead } from '../../chunks/head.ts';
import { MANIFEST_FORMAT, type Manifest, type Point } from '../../chunks/manifest.ts';
import type { SealedImages } from '../seal/sealer.ts';
import type { MemoryTracker, StreamEnd } from '../tracking/memory-tracker.ts';
import type { PublishData, SealFigures } from './data-commands.ts';
import type { ImageSet } from './image-set.ts';
import type { Storage } from './storage.ts';
import type { TrackingRole } from './tracking-role.ts';

const PUBLISH_ATTEMPTS = 4;
const PUBLISH_PAUSE_MS = 500;

export interface StoringParts {
  readonly images: ImageSet;
  readonly tracking: TrackingRole;
  readonly storage: Storage;
}

type Content = SealedImages & {
  readonly deviceState: readonly ChunkRef[];
  readonly prologue: readonly ChunkRef[];
};

export class StoringRole {
  readonly #parts: StoringParts;
  readonly #end = new AbortController();
  #tracker: MemoryTracker | undefined;
  #captured: StreamEnd | undefined;
  #content: Content | undefined;

  constructor(parts: StoringParts) {
    this.#parts = parts;
  }

  async calm(): Promise<void> {
    const { signal } = this.#end;
    const tracker = await this.#parts.tracking.rest();
    this.#tracker = tracker;
    await tracker.pulse(signal);
    await tracker.drain(({ isFresh }) => (isFresh ? 'enough' : undefined), signal);
  }

  async capture(): Promise<{ readonly ramSectionId: number }> {
    if (this.#tracker === undefined) throw new RangeError('the stream is not calm');
    const end = await this.#tracker.finish(this.#end.signal);
    this.#tracker.shut();
    this.#captured = end;
    return { ramSectionId: end.ramSectionId };
  }

  async seal({ limitMs }: { readonly limitMs: number }): Promise<SealFigures> {
    const startedMs = performance.now();
    const bytes = await this.#seal(this.#signal(limitMs));
    return { bytes, ms: performance.now() - startedMs };
  }

  async publish(request: PublishData): Promise<Point> {
    const signal = this.#signal(request.limitMs);
    const { chunks } = this.#parts.storage.opened;
    const head = await chunks.readHead({ signal });
    const { epoch } = request;
    const generation = head?.epoch === epoch ? head.generation + 1 : 1;
    let manifest = this.#manifestOf(request, { epoch, generation });
    for (let attempt = 1; ; attempt += 1) {
      try {
        await chunks.publish(manifest, { signal });
        return { epoch, generation };
      } catch (error) {
        if (attempt === PUBLISH_ATTEMPTS || signal.aborted) throw error;
        if (error instanceof StaleChunkError) {
          this.#parts.storage.sealerOf(this.#parts.images.both)?.forget(() => true);
          await this.#seal(signal);
          manifest = this.#manifestOf(request, { epoch, generation });
        } else if (error instanceof StoreUnavailableError) {
          await sleep(PUBLISH_PAUSE_MS, undefined, { signal });
        } else throw error;
      }
    }
  }

  async isKnown({ limitMs }: { readonly limitMs: number }): Promise<boolean> {
    const { backend, vmId } = this.#parts.storage.opened;
    return (await fetchHead(backend, vmId, { signal: this.#signal(limitMs) })) !== undefined;
  }

  /** The tracker goes back; a seal or publish under way rejects. */
  hangUp(why: string): void {
    this.#end.abort(new Error(why));
    this.#tracker?.rest();
  }

  async #seal(signal: AbortSignal): Promise<number> {
    const { storage, images } = this.#parts;
    const captured = this.#captured;
    const sealer = storage.sealerOf(images.both);
    if (captured === undefined || sealer === undefined) throw new RangeError('nothing to seal');
    const before = sealer.figures.sealedBytes;
    const prologue = await this.#add(captured.prologue, signal);
    const deviceState = await this.#add(captured.deviceState, signal);
    // Flushes what was added above as well.
    const sealed = await sealer.sealAll(signal);
    await storage.opened.chunks.flush({ signal });
    this.#content = { ...sealed, prologue, deviceState };
    const own = captured.prologue.length + captured.deviceState.length;
    return sealer.figures.sealedBytes - before + own;
  }

  async #add(bytes: Buffer, signal: AbortSignal): Promise<readonly ChunkRef[]> {
    const refs: ChunkRef[] = [];
    const { chunks } = this.#parts.storage.opened;
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      refs.push(await chunks.add(bytes.subarray(at, at + CHUNK_BYTES), { signal }));
    }
    return refs;
  }

  #manifestOf(request: PublishData, point: Point): Manifest {
    const { jobId, wrappedKey, facts, createdAtMs } = request;
    if (this.#content === undefined) throw new RangeError('nothing was sealed');
    const { vmId } = this.#parts.storage.opened;
    const about = { vmId, jobId, createdAtMs, wrappedKey, facts };
    return { format: MANIFEST_FORMAT, ...point, ...about, ...this.#content };
  }

  #signal(limitMs: number): AbortSignal {
    return AbortSignal.any([this.#end.signal, AbortSignal.timeout(Math.max(1, limitMs))]);
  }
}
