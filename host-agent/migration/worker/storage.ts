/**
 * A VM's part of the chunk store, in its data worker: cold ranges go there while the VM runs. Without
 * a store everything stays with the peer, and a store that fails hurts nothing but itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ChunkCodec } from '../../chunks/chunk-codec.ts';
import { VmChunkStore } from '../../chunks/chunk-store.ts';
import type { ObjectBackend } from '../../chunks/object-backend.ts';
import { openBackend } from '../../chunks/open-backend.ts';
import { VmId } from '../../protocol/ids.ts';
import { RANGE_BYTES } from '../image/block-image.ts';
import { DISK_AREA } from '../peer/peer-frames.ts';
import { IdleCores } from '../seal/idle-cores.ts';
import { LAST_STEPS, type PastSeal, planSeal } from '../seal/plan-seal.ts';
import { Sealer, type SealTarget, type StepResult } from '../seal/sealer.ts';
import { thisThread } from '../thread-priority.ts';
import { chooseCold } from '../tracking/choose-cold.ts';
import { areasOf, type VmImages } from '../transfer/areas.ts';
import type { ChunkSource } from '../transfer/chunk-filler.ts';
import type { AreaLayout, VmLayout } from '../transfer/layout.ts';
import type { OpenData, TrackingFigures } from './data-commands.ts';

/** Of one step: the stream is not read meanwhile. */
const STEP_LIMIT_MS = 30_000;
const SEAL_LOOK_MS = 250;
/** Of each block at one look: more than is sealed before the next. */
const MAX_COLD_RANGES = 2 ** 15;

/** A VM's store and the way into it. */
export interface OpenStore {
  readonly vmId: VmId;
  readonly chunks: VmChunkStore;
  readonly backend: ObjectBackend;
}

export class Storage {
  #open: OpenStore | undefined;
  #sealer: Sealer | undefined;
  readonly #idle = new IdleCores();
  #restsSinceMs = performance.now();
  #unsealed = 0;
  /** Of the last look, less what was tried since. */
  #cold: SealTarget[] = [];
  #seals: readonly PastSeal[] = [];
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

  /** What is cold by now. A look at every page of the guest: to be taken when they have changed. */
  look(images: VmImages): void {
    const unsealed = this.sealerOf(images)?.unsealed() ?? [];
    this.#unsealed = unsealed.length;
    this.#cold = this.#chooseTargets(images, unsealed);
  }

  /**
   * Sends away what was cold at the last look, at the pace of plan-seal.ts, for so long; `onSealed` hears
   * of each step. Never rejects for a store's failure; with the signal's reason soon after it.
   */
  async rest(
    images: VmImages,
    { ms, signal, onSealed }: { ms: number; signal: AbortSignal; onSealed: () => void },
  ): Promise<void> {
    const endMs = performance.now() + ms;
    for (;;) {
      if (await this.#sealSome(images, signal)) onSealed();
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) return signal.throwIfAborted();
      // Nothing grows cold before the next look.
      const waitMs = this.#cold.length === 0 ? leftMs : Math.min(leftMs, SEAL_LOOK_MS);
      await sleep(waitMs, undefined, { signal });
    }
  }

  /** Where everything is now: without a store all that is not as in base is with the peer. */
  layout(images: VmImages): VmLayout {
    return this.sealerOf(images)?.layout() ?? areasOf(images).map(peerLayout);
  }

  /** What the guest has written since the last pulse: how fast it writes. */
  notePulse({ changedPages }: { readonly changedPages: number }): void {
    const nowMs = performance.now();
    const seconds = Math.max(0.001, (nowMs - this.#dirty.atMs) / 1_000);
    this.#dirty = { bytesPerSecond: (changedPages * 4096) / seconds, atMs: nowMs };
  }

  /** As of the last look and what was sealed since. */
  figures(images: VmImages): TrackingFigures {
    const own = images.memory.ownPages * 4096;
    return {
      bytesUnsealed: this.#open === undefined ? own : this.#unsealed * RANGE_BYTES,
      bytesInStore: this.#sealer?.figures.sealedBytes ?? 0,
      dirtyBytesPerSecond: this.#dirty.bytesPerSecond,
    };
  }

  /** Undefined without a store. */
  sealerOf(images: VmImages): Sealer | undefined {
    if (this.#open === undefined) return undefined;
    this.#sealer ??= new Sealer({ ...images, store: this.#open.chunks });
    return this.#sealer;
  }

  /** Whether anything was. */
  async #sealSome(images: VmImages, stop: AbortSignal): Promise<boolean> {
    const sealer = this.sealerOf(images);
    if (sealer === undefined || this.#cold.length === 0) return false;
    const { limitBytes } = planSeal({
      coldBytes: this.#cold.length * RANGE_BYTES,
      restedMs: performance.now() - this.#restsSinceMs,
      idleCores: this.#idle.read(),
      history: this.#seals,
    });
    if (limitBytes === 0) return false;
    const targets = this.#cold.splice(0, Math.ceil(limitBytes / RANGE_BYTES));
    const signal = AbortSignal.any([stop, AbortSignal.timeout(STEP_LIMIT_MS)]);
    const seal = await thisThread.giveWay(() =>
      timed(() => sealer.step(targets, { limitBytes, signal })),
    );
    this.#restsSinceMs = performance.now();
    this.#idle.reset();
    this.#unsealed = Math.max(0, this.#unsealed - Math.ceil(seal.bytes / RANGE_BYTES));
    // One that was cut short says nothing of the store.
    if (!stop.aborted) this.#seals = [...this.#seals, seal].slice(-LAST_STEPS);
    return true;
  }

  #chooseTargets({ memory }: VmImages, unsealed: readonly SealTarget[]): SealTarget[] {
    const byArea = Map.groupBy(unsealed, ({ area }) => area);
    const cold = memory.blocks.flatMap(({ index }, area) => {
      const candidates = (byArea.get(area) ?? []).map(({ range }) => range);
      const chosen = chooseCold({
        ...{ candidates, limit: MAX_COLD_RANGES },
        ...{ heat: memory.heatOf(index), tick: memory.tick },
      });
      return chosen.map(({ range }) => ({ area, range }));
    });
    const clusters = (byArea.get(DISK_AREA) ?? []).map(({ range }) => range);
    const rested = clusters.filter((range) => this.#restless.has(range));
    this.#restless = new Set(clusters);
    return [...cold, ...rested.map((range) => ({ area: DISK_AREA, range }))];
  }
}

/** With the worker's own time: compression, hash and cipher are done on its thread. */
async function timed(step: () => Promise<StepResult>): Promise<PastSeal> {
  const [startedMs, cpuBefore] = [performance.now(), process.threadCpuUsage()];
  const result = await step().catch(() => undefined);
  const { user, system } = process.threadCpuUsage(cpuBefore);
  const [ms, cpuMs] = [performance.now() - startedMs, (user + system) / 1_000];
  return { bytes: result?.sealedBytes ?? 0, ms, cpuMs };
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
