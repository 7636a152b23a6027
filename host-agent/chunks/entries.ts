/**
 * What each 64 KiB range of a memory block or disk is: a chunk, zeros, or what the base has there
 * (template or image). Zero is not "as in base": a page that the guest cleared must come back clear.
 * Kept as runs: most of a machine is long stretches of the same.
 */
import { CHUNK_BYTES, type ChunkRef } from './chunk-codec.ts';

export type Entry =
  | { readonly kind: 'zero' }
  | { readonly kind: 'base' }
  | { readonly kind: 'chunk'; readonly ref: ChunkRef };

export type EntryRun =
  | { readonly kind: 'zero' | 'base'; readonly count: number }
  | { readonly kind: 'chunks'; readonly refs: readonly ChunkRef[] };

/** Runs whose lengths add up to the ranges of what they describe; no two neighbours are of one kind. */
export type Entries = readonly EntryRun[];

/** How many ranges that many bytes have; the last may be shorter. */
export function rangeCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / CHUNK_BYTES);
}

export function runLength(run: EntryRun): number {
  return run.kind === 'chunks' ? run.refs.length : run.count;
}

export function entryCount(entries: Entries): number {
  return entries.reduce((sum, run) => sum + runLength(run), 0);
}

/** Range by range, in order, into runs. */
export function toEntries(ranges: Iterable<Entry>): EntryRun[] {
  const runs: EntryRun[] = [];
  let refs: ChunkRef[] = [];
  for (const entry of ranges) {
    const last = runs.at(-1);
    if (entry.kind === 'chunk') {
      if (last?.kind !== 'chunks') {
        refs = [];
        runs.push({ kind: 'chunks', refs });
      }
      refs.push(entry.ref);
    } else if (last?.kind === entry.kind) {
      runs[runs.length - 1] = { kind: entry.kind, count: last.count + 1 };
    } else runs.push({ kind: entry.kind, count: 1 });
  }
  return runs;
}

/** Runs back to ranges, in order. */
export function* eachEntry(entries: Entries): Generator<Entry> {
  for (const run of entries) {
    if (run.kind === 'chunks') {
      for (const ref of run.refs) yield { kind: 'chunk', ref };
    } else for (let n = 0; n < run.count; n += 1) yield { kind: run.kind };
  }
}

export function* eachRef(entries: Entries): Generator<ChunkRef> {
  for (const run of entries) if (run.kind === 'chunks') yield* run.refs;
}
