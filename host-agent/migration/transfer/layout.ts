/**
 * Where each range of a VM is: as in base, zero, a chunk of the store, or with the peer only. On the
 * wire and in manifests it is told in runs. Pure.
 */
import type { ChunkRef } from '../../chunks/chunk-codec.ts';
import { type Entries, type Entry, toEntries } from '../../chunks/entries.ts';
import { type LayoutBatch, type LayoutRun, MAX_LAYOUT_RANGES } from '../peer/peer-frames.ts';

export type RangeLayout =
  | { readonly kind: 'base' | 'zero' | 'peer' }
  /** `stale`: units of the area that have changed since the chunk was made. */
  | { readonly kind: 'chunk'; readonly ref: ChunkRef; readonly stale: readonly number[] };

export interface AreaLayout {
  readonly area: number;
  /** One for each range of the area, in order. */
  readonly ranges: readonly RangeLayout[];
}

export type VmLayout = readonly AreaLayout[];

/** What a receiver has to know of a range. */
export type RangePlace =
  | { readonly kind: 'base' | 'zero' | 'peer' }
  | { readonly kind: 'chunk'; readonly ref: ChunkRef };

/** Batches that together cover the area, each short enough for a frame. */
export function toBatches({ area, ranges }: AreaLayout): readonly LayoutBatch[] {
  const batches: LayoutBatch[] = [];
  for (let first = 0; first < ranges.length; first += MAX_LAYOUT_RANGES) {
    batches.push({ area, first, runs: toRuns(ranges.slice(first, first + MAX_LAYOUT_RANGES)) });
  }
  return batches;
}

export function toRuns(ranges: readonly RangePlace[]): LayoutRun[] {
  const runs: LayoutRun[] = [];
  for (const place of ranges) {
    const last = runs.at(-1);
    if (place.kind === 'chunk') {
      if (last?.kind === 'chunks') last.refs.push(toTuple(place.ref));
      else runs.push({ kind: 'chunks', refs: [toTuple(place.ref)] });
    } else if (last !== undefined && last.kind === place.kind) {
      runs[runs.length - 1] = { kind: place.kind, count: last.count + 1 };
    } else runs.push({ kind: place.kind, count: 1 });
  }
  return runs;
}

/** Range by range, in order. */
export function* eachPlace(runs: readonly LayoutRun[]): Generator<RangePlace> {
  for (const run of runs) {
    if (run.kind === 'chunks') {
      for (const [name, pack, offset, length, size] of run.refs) {
        yield { kind: 'chunk', ref: { name, pack, offset, length, size } };
      }
    } else for (let n = 0; n < run.count; n += 1) yield { kind: run.kind };
  }
}

/** For a manifest, where nothing may be with a peer or stale: undefined when something is. */
export function toManifestEntries(ranges: readonly RangeLayout[]): Entries | undefined {
  const entries = ranges.map(toEntry).filter((entry) => entry !== undefined);
  return entries.length === ranges.length ? toEntries(entries) : undefined;
}

function toEntry(range: RangeLayout): Entry | undefined {
  switch (range.kind) {
    case 'peer':
      return undefined;
    case 'chunk':
      return range.stale.length === 0 ? { kind: 'chunk', ref: range.ref } : undefined;
    case 'base':
    case 'zero':
      return { kind: range.kind };
  }
}

/** Checks that batches follow each other and cover every area once. */
export class LayoutProgress {
  readonly #next = new Map<number, number>();
  readonly #ranges: ReadonlyMap<number, number>;

  /** How many ranges each area has, by its id. */
  constructor(ranges: ReadonlyMap<number, number>) {
    this.#ranges = ranges;
  }

  /** False when this batch is not the next one of its area, or is longer than the area. */
  accept({ area, first, runs }: LayoutBatch): boolean {
    const wanted = this.#next.get(area) ?? 0;
    const end = first + runs.reduce((sum, run) => sum + lengthOf(run), 0);
    if (first !== wanted || end > (this.#ranges.get(area) ?? 0)) return false;
    this.#next.set(area, end);
    return true;
  }

  get isComplete(): boolean {
    return [...this.#ranges].every(([area, ranges]) => this.#next.get(area) === ranges);
  }
}

function lengthOf(run: LayoutRun): number {
  return run.kind === 'chunks' ? run.refs.length : run.count;
}

function toTuple(ref: ChunkRef): [string, string, number, number, number] {
  return [ref.name, ref.pack, ref.offset, ref.length, ref.size];
}
