/**
 * A VM's part of the chunk store, in its data worker: cold ranges go there while the VM runs. Without
 * a store everything stays with the peer, and a store that fails hurts nothing but itself.
 */
import { ChunkCodec } from '../../chunks/chunk-codec.ts';
import { VmChunkStore } from '../../chunks/chunk-store.ts';
import type { ObjectBackend } from '../../chunks/object-backend.ts';
import { openBackend } from '../../chunks/open-backend.ts';
import { PACK_TARGET_BYTES } from '../../chunks/pack.ts';
import { VmId } from '../../protocol/ids.ts';
import { RANGE_BYTES } from '../image/block-image.ts';
import { DISK_AREA } from '../peer/peer-frames.ts';
import { Sealer, type SealTarget } from '../seal/sealer.ts';
import { chooseCold } from '../tracking/choose-cold.ts';
import { areasOf, type VmImages } from '../transfer/areas.ts';
import type { ChunkSource } from '../transfer/chunk-filler.ts';
import type { AreaLayout, VmLayout } from '../transfer/layout.ts';
import type { OpenData, TrackingFigures } from './data-commands.ts';

/** Less than a pack is not worth a request, unless it has waited for so long. */
const MAX_SEAL_WAIT_MS = 60_000;
/** Of one step: the stream is not read meanwhile. */
const STEP_BYTES = 2 * PACK_TARGET_BYTES;
const STEP_LIMIT_MS = 30_000;

/** A VM's store and the way into it. */
export interface OpenStore {
  readonly vmId: VmId;
  readonly chunks: VmChunkStore;
  readonly backend: ObjectBackend;
}

export class Storage {
  #open: OpenStore | undefined;
  #sealer: Sealer | undefined;
  #lastSealMs = performance.now();
  #dirty = { bytesPerSecond: 0, atMs: performance.now() };
  /** Clusters that were not in the store at the last look: what is still not, has rested. */
  #restless = new Set<number>();

  get source(): ChunkSource | undefined {
    return this.#open?.chunks;
  }

  /** Throws RangeError when this VM has none. */
  get opened(): OpenStore {
    if (this.#open === undefined) throw new RangeError('this VM has no chunk store');
    return this.#open;
  }

  static async open(vmId: string, store: OpenData['store']): Promise<Storage> {
    const storage = new Storage();
    if (store !== undefined) await storage.attach(vmId, store);
    return storage;
  }

  /** A store that was not known before. What is kept so far goes there as it grows cold. */
  async attach(vmId: string, store: NonNullable<OpenData['store']>): Promise<void> {
    if (this.#open !== undefined) return;
    const backend = await openBackend(store.spec).catch(() => undefined);
    // As with a store that fails later: its VMs still move, all of them from peer to peer.
    if (backend === undefined) return;
    const codec = new ChunkCodec(Buffer.from(store.key, 'base64'));
    const { signal } = new AbortController();
    const parsed = VmId.parse(vmId);
    const chunks = new VmChunkStore({ backend, codec, vmId: parsed, signal });
    this.#open = { vmId: parsed, chunks, backend };
  }

  /**
   * Sends cold ranges away once there is a pack of them. Never rejects for a store's failure; ends at
   * the signal, however slow the store is.
   */
  async seal(images: VmImages, stop: AbortSignal): Promise<void> {
    const sealer = this.sealerOf(images);
    if (sealer === undefined) return;
    const targets = this.#chooseTargets(images, sealer);
    const isDue = performance.now() - this.#lastSealMs > MAX_SEAL_WAIT_MS;
    if (targets.length * RANGE_BYTES < PACK_TARGET_BYTES && !(isDue && targets.length > 0)) return;
    this.#lastSealMs = performance.now();
    const signal = AbortSignal.any([stop, AbortSignal.timeout(STEP_LIMIT_MS)]);
    await sealer.step(targets, { limitBytes: STEP_BYTES, signal }).catch(() => undefined);
  }

  /** Where everything is now: without a store all that is not as in base is with the peer. */
  layout(images: VmImages): VmLayout {
    return this.sealerOf(images)?.layout() ?? areasOf(images).map(peerLayout);
  }

  figures(images: VmImages, pulse: { readonly changedPages: number }): TrackingFigures {
    const nowMs = performance.now();
    const seconds = Math.max(0.001, (nowMs - this.#dirty.atMs) / 1_000);
    const bytesPerSecond = (pulse.changedPages * 4096) / seconds;
    this.#dirty = { bytesPerSecond, atMs: nowMs };
    const unsealed = this.sealerOf(images)?.unsealed().length;
    const own = images.memory.ownPages * 4096;
    return {
      bytesUnsealed: unsealed === undefined ? own : unsealed * RANGE_BYTES,
      bytesInStore: this.#sealer?.figures.sealedBytes ?? 0,
      dirtyBytesPerSecond: bytesPerSecond,
    };
  }

  /** Undefined without a store. */
  sealerOf(images: VmImages): Sealer | undefined {
    if (this.#open === undefined) return undefined;
    this.#sealer ??= new Sealer({ ...images, store: this.#open.chunks });
    return this.#sealer;
  }

  #chooseTargets({ memory }: VmImages, sealer: Sealer): readonly SealTarget[] {
    const unsealed = Map.groupBy(sealer.unsealed(), ({ area }) => area);
    const cold = memory.blocks.flatMap(({ index }, area) => {
      const candidates = (unsealed.get(area) ?? []).map(({ range }) => range);
      const limit = STEP_BYTES / RANGE_BYTES;
      const chosen = chooseCold({
        ...{ candidates, limit },
        ...{ heat: memory.heatOf(index), tick: memory.tick },
      });
      return chosen.map(({ range }) => ({ area, range }));
    });
    const clusters = (unsealed.get(DISK_AREA) ?? []).map(({ range }) => range);
    const rested = clusters.filter((range) => this.#restless.has(range));
    this.#restless = new Set(clusters);
    return [...cold, ...rested.map((range) => ({ area: DISK_AREA, range }))];
  }
}

function peerLayout(area: ReturnType<typeof areasOf>[number]): AreaLayout {
  const ranges = Array.from({ length: area.ranges }, (_, range) => {
    const first = range * area.unitsPerRange;
    const end = Math.min(first + area.unitsPerRange, area.units);
    for (let unit = first; unit < end; unit += 1) {
      if (area.stateOf(unit) !== 'base') return { kind: 'peer' } as const;
    }
    return { kind: 'base' } as const;
  });
  return { area: area.id, ranges };
}
