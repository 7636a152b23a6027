/**
 * Fetches chunks of the store into the images, beside whatever else goes on.
 *
 *   waiting ──batch──▶ asked for ──whole──▶ filled
 *      │                   └──not there, damaged, store given up──▶ missing
 *      └──the peer sent all of it──▶ filled
 *
 * Every range ends filled or missing, once. A store that fails many times in a row, from which nothing
 * comes for a while, or that is not done when its patience is over, is given up: all that is left is
 * missing at once, whether the store ever answers or not.
 */
import type { ChunkRef } from '../../chunks/chunk-codec.ts';
import type { Area } from './areas.ts';
import { type Arrivals, isWholeRange } from './arrivals.ts';

export type ChunkOutcome =
  | { readonly kind: 'read'; readonly content: Buffer }
  | { readonly kind: 'damaged' | 'missing' | 'unavailable' };

/** Where chunks come from: verified content or why there is none, for each reference once. */
export interface ChunkSource {
  read(
    refs: Iterable<ChunkRef>,
    options: {
      readonly signal: AbortSignal;
      readonly onChunk: (ref: ChunkRef, outcome: ChunkOutcome) => void | Promise<void>;
    },
  ): Promise<unknown>;
}

export interface FillLimits {
  /** Chunks that the store is asked for in one go. */
  readonly batchChunks: number;
  /** Batches at a time. */
  readonly batches: number;
  /** Without one chunk. */
  readonly stallMs: number;
  /** For all of them, from the first. */
  readonly storeMs: number;
  /** Chunks that were unavailable, without a good one in between. */
  readonly failuresInARow: number;
}

export const DEFAULT_FILL_LIMITS: FillLimits = {
  batchChunks: 1024,
  batches: 2,
  stallMs: 5_000,
  storeMs: 60_000,
  failuresInARow: 32,
};

export interface FillerOptions {
  readonly source: ChunkSource | undefined;
  readonly arrivals: Arrivals;
  readonly limits: FillLimits;
  /** Once for each range that was added and is there now. */
  readonly onFilled: (bytes: number) => void;
  readonly onMissing: (area: Area, range: number) => void;
  /** An image cannot be written: the move ends. */
  readonly onBroken: (error: unknown) => void;
}

export interface Wanted {
  readonly area: Area;
  readonly range: number;
  readonly ref: ChunkRef;
}

/** Ranges asked for, by their chunk: several may have the same. */
type Batch = Map<string, Wanted[]>;

export class ChunkFiller {
  readonly #options: FillerOptions;
  readonly #stop = new AbortController();
  readonly #batches = new Set<Batch>();
  #waiting: Wanted[] = [];
  #asked = 0;
  #failures = 0;
  #isDue = false;
  #isSilent = false;
  #patience: NodeJS.Timeout | undefined;
  #stall: NodeJS.Timeout | undefined;

  constructor(options: FillerOptions) {
    this.#options = options;
  }

  /** Ranges that are neither filled nor missing. */
  get left(): number {
    return this.#waiting.length + this.#asked;
  }

  add(wanted: Wanted): void {
    if (this.#options.source === undefined || this.#stop.signal.aborted) {
      this.#options.onMissing(wanted.area, wanted.range);
      return;
    }
    this.#patience ??= setTimeout(() => this.giveUp(), this.#options.limits.storeMs);
    this.#waiting.push(wanted);
    if (this.#isDue) return;
    this.#isDue = true;
    // What is added in one go is asked for in one go: neighbours are one request.
    setImmediate(() => {
      this.#isDue = false;
      this.#pump();
    });
  }

  /** Everything that is not there yet is missing now. */
  giveUp(): void {
    if (this.#stop.signal.aborted) return;
    const asked = [...this.#batches].flatMap((batch) => [...batch.values()].flat());
    const left = [...asked, ...this.#waiting];
    this.#end();
    for (const { area, range } of left) this.#options.onMissing(area, range);
  }

  /** Ends all fetches and says nothing more of any range. */
  stop(): void {
    this.#isSilent = true;
    this.#end();
  }

  #end(): void {
    clearTimeout(this.#patience);
    clearTimeout(this.#stall);
    for (const batch of this.#batches) batch.clear();
    this.#waiting = [];
    this.#asked = 0;
    this.#stop.abort();
  }

  #pump(): void {
    const { source, limits } = this.#options;
    while (source !== undefined && this.#batches.size < limits.batches) {
      const batch = this.#nextBatch();
      if (batch.size === 0) return;
      this.#batches.add(batch);
      this.#expect();
      void this.#read(source, batch).then(() => {
        this.#batches.delete(batch);
        this.#pump();
      });
    }
  }

  #nextBatch(): Batch {
    const batch: Batch = new Map();
    const taken = this.#waiting.splice(0, this.#options.limits.batchChunks);
    this.#asked += taken.length;
    for (const wanted of taken) {
      if (!this.#options.arrivals.isWanted(wanted.area, wanted.range)) {
        this.#settle(() => this.#options.onFilled(0));
        continue;
      }
      const same = batch.get(keyOf(wanted.ref));
      if (same === undefined) batch.set(keyOf(wanted.ref), [wanted]);
      else same.push(wanted);
    }
    return batch;
  }

  /** Never rejects. A store that does not answer for all of a batch is given up. */
  async #read(source: ChunkSource, batch: Batch): Promise<void> {
    const refs = [...batch.values()].flatMap(([first]) => (first === undefined ? [] : [first.ref]));
    const { signal } = this.#stop;
    try {
      await source.read(refs, {
        signal,
        onChunk: (ref, outcome) => this.#take(batch, { ref, outcome }),
      });
    } catch {
      this.giveUp();
    }
    if (batch.size > 0) this.giveUp();
  }

  async #take(
    batch: Batch,
    { ref, outcome }: { readonly ref: ChunkRef; readonly outcome: ChunkOutcome },
  ): Promise<void> {
    const wanted = batch.get(keyOf(ref)) ?? [];
    batch.delete(keyOf(ref));
    this.#expect();
    this.#failures = outcome.kind === 'unavailable' ? this.#failures + 1 : 0;
    for (const one of wanted) await this.#put(one, outcome);
    if (this.#failures >= this.#options.limits.failuresInARow) this.giveUp();
  }

  async #put({ area, range }: Wanted, outcome: ChunkOutcome): Promise<void> {
    const { arrivals, onMissing, onFilled, onBroken } = this.#options;
    if (outcome.kind !== 'read' || !isWholeRange(area, { range, content: outcome.content })) {
      return this.#settle(() => onMissing(area, range));
    }
    const { content } = outcome;
    try {
      await arrivals.storeContent(area, { range, content });
      this.#settle(() => onFilled(content.length));
    } catch (error) {
      this.#settle(() => onBroken(error));
    }
  }

  #settle(tell: () => void): void {
    this.#asked = Math.max(0, this.#asked - 1);
    if (!this.#isSilent) tell();
  }

  /** The next chunk has to come within the limit. */
  #expect(): void {
    clearTimeout(this.#stall);
    if (this.#stop.signal.aborted || this.#asked === 0) return;
    this.#stall = setTimeout(() => this.giveUp(), this.#options.limits.stallMs);
  }
}

function keyOf({ pack, offset, name }: ChunkRef): string {
  return `${pack} ${offset} ${name}`;
}
