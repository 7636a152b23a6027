/**
 * Reads chunks from the store: few ranged requests, some at a time, every chunk verified. What is not
 * good at first is fetched once more on its own; what is not good then is reported for that chunk, so
 * that the caller can get it from elsewhere. Nothing is left out: each reference is answered once.
 */
import { setImmediate as yieldTurn } from 'node:timers/promises';
import type { VmId } from '../protocol/ids.ts';
import type { ChunkCodec, ChunkRef } from './chunk-codec.ts';
import { ChunkDamagedError, ObjectMissingError, StoreUnavailableError } from './chunk-errors.ts';
import type { ObjectBackend } from './object-backend.ts';
import { planReads, type ReadSpan } from './read-plan.ts';
import { Slots } from './slots.ts';
import { packKey } from './store-keys.ts';

const CONCURRENT_READS = 6;

export type ChunkFailure = 'damaged' | 'missing' | 'unavailable';
export type ChunkOutcome =
  | { readonly kind: 'read'; readonly content: Buffer }
  | { readonly kind: ChunkFailure };

export interface ReadOptions {
  readonly signal: AbortSignal;
  /** Called once for each reference, in any order; what it returns is awaited before more is read. */
  readonly onChunk: (ref: ChunkRef, outcome: ChunkOutcome) => void | Promise<void>;
}

export interface ReadSummary {
  readonly read: number;
  readonly failed: readonly { readonly ref: ChunkRef; readonly kind: ChunkFailure }[];
}

export class ChunkReader {
  readonly #backend: ObjectBackend;
  readonly #codec: ChunkCodec;
  readonly #vmId: VmId;
  readonly #bodyOf: (packId: string) => Buffer | undefined;

  /** `bodyOf` gives packs that are still in memory. */
  constructor(given: {
    readonly backend: ObjectBackend;
    readonly codec: ChunkCodec;
    readonly vmId: VmId;
    readonly bodyOf: (packId: string) => Buffer | undefined;
  }) {
    this.#backend = given.backend;
    this.#codec = given.codec;
    this.#vmId = given.vmId;
    this.#bodyOf = given.bodyOf;
  }

  /** Throws the signal's reason, what `onChunk` throws, or StoreRefusedError; else answers for every chunk. */
  async read(refs: Iterable<ChunkRef>, { signal, onChunk }: ReadOptions): Promise<ReadSummary> {
    const failed: { ref: ChunkRef; kind: ChunkFailure }[] = [];
    let read = 0;
    const answer = async (ref: ChunkRef, outcome: ChunkOutcome) => {
      if (outcome.kind === 'read') read += 1;
      else failed.push({ ref, kind: outcome.kind });
      await onChunk(ref, outcome);
    };
    const slots = new Slots(CONCURRENT_READS);
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    const spans = planReads(refs).map((span) =>
      slots.run(both, () => this.#readSpan(span, { signal: both, onChunk: answer })),
    );
    try {
      await Promise.all(spans);
    } catch (error) {
      stop.abort(error);
      await Promise.allSettled(spans);
      throw error;
    }
    return { read, failed };
  }

  async #readSpan(span: ReadSpan, options: ReadOptions): Promise<void> {
    const got = await this.#fetch(span, options.signal);
    for (const ref of span.refs) {
      options.signal.throwIfAborted();
      const first = this.#openIn(ref, span, got);
      const outcome = first.kind === 'damaged' ? await this.#again(ref, options.signal) : first;
      await options.onChunk(ref, outcome);
      // What comes from a peer meanwhile is on the same thread, which opening a chunk blocks.
      await yieldTurn();
    }
  }

  async #again(ref: ChunkRef, signal: AbortSignal): Promise<ChunkOutcome> {
    const span = { ...ref, refs: [ref] };
    return this.#openIn(ref, span, await this.#fetch(span, signal));
  }

  #openIn(ref: ChunkRef, span: ReadSpan, got: Buffer | ChunkFailure): ChunkOutcome {
    if (typeof got === 'string') return { kind: got };
    const start = ref.offset - span.offset;
    try {
      const content = this.#codec.open(ref, got.subarray(start, start + ref.length));
      return { kind: 'read', content };
    } catch (error) {
      if (error instanceof ChunkDamagedError) return { kind: 'damaged' };
      throw error;
    }
  }

  async #fetch(span: ReadSpan, signal: AbortSignal): Promise<Buffer | ChunkFailure> {
    const { pack, offset, length } = span;
    const held = this.#bodyOf(pack);
    if (held !== undefined) return held.subarray(offset, offset + length);
    const key = packKey(this.#vmId, pack);
    try {
      return (await this.#backend.get(key, { signal, range: { offset, length } })).body;
    } catch (error) {
      if (error instanceof ObjectMissingError) return 'missing';
      if (error instanceof StoreUnavailableError) return 'unavailable';
      throw error;
    }
  }
}
