/**
 * Keeps a VM's cold ranges in the chunk store, and knows for each range whether it is there.
 *
 *   step()      some cold ranges, between other things, while the guest runs
 *   layout()    where everything is now: what a move begins with
 *   sealAll()   everything, while the images stand still: a manifest's entries
 *
 * Invariants: a range counts as sealed only when the store has said that it is durable; a change while
 * a range is on its way makes its chunk stale; a store that fails hurts nothing but itself: those
 * ranges stay with the peer, and are tried again by a later step.
 */

import { setImmediate as yieldTurn } from 'node:timers/promises';
import type { ChunkRef } from '../../chunks/chunk-codec.ts';
import type { Entries } from '../../chunks/entries.ts';
import { ArchitectError } from '../../protocol/errors.ts';
import { RANGE_BYTES } from '../image/block-image.ts';
import {
  type Area,
  type AreaWatch,
  areasOf,
  unitsOf,
  type VmImages,
  watchAreas,
} from '../transfer/areas.ts';
import { toManifestEntries, type VmLayout } from '../transfer/layout.ts';
import { rangeContent } from './range-content.ts';
import { SealLedger } from './seal-ledger.ts';

/** Where chunks go. An added chunk is durable after the next `flush`; its content is not kept. */
export interface ChunkSink {
  add(content: Buffer, options: { readonly signal: AbortSignal }): Promise<ChunkRef>;
  flush(options: { readonly signal: AbortSignal }): Promise<void>;
}

/** Not all of a VM is in the store: no manifest of it can be made now. */
export class SealError extends ArchitectError {
  readonly code = 'SEAL';
  readonly retry = 'later';
}

export interface SealTarget {
  /** An area's id. */
  readonly area: number;
  readonly range: number;
}

export interface StepResult {
  readonly sealedBytes: number;
  readonly sealedRanges: number;
  /** Ranges that the store did not take; they stay with the peer. */
  readonly failedRanges: number;
}

/** What a manifest holds of the images (chunks/manifest.ts). */
export interface SealedImages {
  readonly memory: readonly {
    readonly name: string;
    readonly sizeBytes: number;
    readonly entries: Entries;
  }[];
  readonly disk: { readonly sizeBytes: number; readonly entries: Entries };
}

export interface SealerFigures {
  readonly sealedBytes: number;
  readonly sealedRanges: number;
  readonly failedRanges: number;
}

const EVERYTHING = Number.POSITIVE_INFINITY;
/** Sealed in one go; then whatever else is to be done on this thread has its turn. */
const TURN_RANGES = 32;

export class Sealer {
  readonly #images: VmImages;
  readonly #store: ChunkSink;
  readonly #watch: AreaWatch;
  /** By the area's name: a block keeps it when hot-plug changes its place. */
  readonly #ledgers = new Map<string, SealLedger>();
  #figures = { sealedBytes: 0, sealedRanges: 0, failedRanges: 0 };
  /** For one range after the other. */
  readonly #space = Buffer.allocUnsafe(RANGE_BYTES);
  /** Steps follow each other. */
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: VmImages & { readonly store: ChunkSink }) {
    const { memory, disk } = options;
    this.#images = { memory, disk };
    this.#store = options.store;
    this.#watch = watchAreas(this.#images, { everything: false });
  }

  /** Since the beginning; `failedRanges` counts each attempt. */
  get figures(): SealerFigures {
    return this.#figures;
  }

  /**
   * Seals those of the ranges that are not in the store as they are, until `limitBytes` of content
   * went out. Rejects only with the signal's reason; a failing store is counted.
   */
  async step(
    targets: readonly SealTarget[],
    { limitBytes, signal }: { readonly limitBytes: number; readonly signal: AbortSignal },
  ): Promise<StepResult> {
    const turn = this.#work.then(() => this.#step(targets, { limitBytes, signal }));
    this.#work = turn.catch(() => {});
    return await turn;
  }

  /** Where each range is now, changes up to this moment included. */
  layout(): VmLayout {
    this.#collect();
    return areasOf(this.#images).map((area) => {
      const ledger = this.#ledgerOf(area);
      const ranges = Array.from({ length: area.ranges }, (_, range) =>
        ledger.layoutOf(area, range),
      );
      return { area: area.id, ranges };
    });
  }

  /** What a move would have to send that the store does not have. In bytes, by whole ranges. */
  unsealed(): readonly SealTarget[] {
    this.#collect();
    return areasOf(this.#images).flatMap((area) => {
      const ledger = this.#ledgerOf(area);
      const all = Array.from({ length: area.ranges }, (_, range) => range);
      return all
        .filter((range) => ledger.isUnsealed(area, range))
        .map((range) => ({ area: area.id, range }));
    });
  }

  /**
   * Seals all that is left. Nothing may change in the images until it settles. Rejects with SealError
   * when the store did not take all of it, or something changed; what was sealed stays sealed.
   */
  async sealAll(signal: AbortSignal): Promise<SealedImages> {
    const result = await this.step(this.unsealed(), { limitBytes: EVERYTHING, signal });
    if (result.failedRanges > 0) {
      throw new SealError('The chunk store did not take all of a VM.', {
        context: { failedRanges: result.failedRanges },
      });
    }
    // A range may be mostly stale in its chunk, which `layout` gives to the peer: sealed anew above.
    const layout = this.layout();
    const maps = areasOf(this.#images).map((area, at) => ({
      name: area.name,
      sizeBytes: area.sizeBytes,
      entries: toManifestEntries(layout[at]?.ranges ?? []),
    }));
    const whole = maps.flatMap(({ entries, ...map }) => (entries ? [{ ...map, entries }] : []));
    const disk = whole.at(-1);
    if (disk === undefined || whole.length !== maps.length) {
      throw new SealError('The images changed while they were sealed.');
    }
    const { sizeBytes, entries } = disk;
    return { memory: whole.slice(0, -1), disk: { sizeBytes, entries } };
  }

  /** These chunks are not to be counted on any more: their ranges are sealed anew by later steps. */
  forget(isGone: (ref: ChunkRef) => boolean): void {
    for (const ledger of this.#ledgers.values()) ledger.forget(isGone);
  }

  /** Watches no longer. */
  close(): void {
    this.#watch.end();
  }

  async #step(
    targets: readonly SealTarget[],
    { limitBytes, signal }: { readonly limitBytes: number; readonly signal: AbortSignal },
  ): Promise<StepResult> {
    const areas = new Map(areasOf(this.#images).map((area) => [area.id, area]));
    const added: { readonly ledger: SealLedger; readonly range: number; readonly ref: ChunkRef }[] =
      [];
    const begun: { readonly ledger: SealLedger; readonly range: number }[] = [];
    let bytes = 0;
    this.#collect();
    try {
      for (const { area: id, range } of targets) {
        const area = areas.get(id);
        if (bytes >= limitBytes) break;
        const ledger = area && this.#ledgerOf(area);
        if (area === undefined || !ledger?.isUnsealed(area, range)) continue;
        if (ledger.isPending(range)) continue;
        this.#collectOf(area);
        ledger.begin(range);
        begun.push({ ledger, range });
        const content = await rangeContent(area, unitsOf(area, range), this.#space);
        if (content === undefined) continue;
        added.push({ ledger, range, ref: await this.#store.add(content, { signal }) });
        bytes += content.length;
        if (added.length % TURN_RANGES === 0) await yieldTurn();
        signal.throwIfAborted();
      }
      await this.#store.flush({ signal });
    } catch {
      return this.#giveUp(begun, signal);
    }
    this.#collect();
    for (const { ledger, range, ref } of added) ledger.done(range, ref);
    for (const { ledger, range } of begun) ledger.failed(range);
    return this.#count({ sealedBytes: bytes, sealedRanges: added.length, failedRanges: 0 });
  }

  #giveUp(
    begun: readonly { readonly ledger: SealLedger; readonly range: number }[],
    signal: AbortSignal,
  ): StepResult {
    this.#collect();
    for (const { ledger, range } of begun) ledger.failed(range);
    signal.throwIfAborted();
    return this.#count({ sealedBytes: 0, sealedRanges: 0, failedRanges: begun.length });
  }

  #count(result: StepResult): StepResult {
    this.#figures = {
      sealedBytes: this.#figures.sealedBytes + result.sealedBytes,
      sealedRanges: this.#figures.sealedRanges + result.sealedRanges,
      failedRanges: this.#figures.failedRanges + result.failedRanges,
    };
    return result;
  }

  #collect(): void {
    for (const area of areasOf(this.#images)) this.#collectOf(area);
  }

  #collectOf(area: Area): void {
    const changes = this.#watch.changesOf(area);
    if (changes.size === 0) return;
    this.#ledgerOf(area).change(changes, area.unitsPerRange);
    changes.clearAll();
  }

  #ledgerOf(area: Area): SealLedger {
    const held = this.#ledgers.get(area.name);
    if (held !== undefined) return held;
    const made = new SealLedger();
    this.#ledgers.set(area.name, made);
    return made;
  }
}
