/** Many chunks by few requests: neighbours in a pack are read together, with small gaps read over. */
import type { ChunkRef } from './chunk-codec.ts';

/** Reading this much in vain costs less than another request. */
export const MAX_GAP_BYTES = 128 * 1024;
export const MAX_SPAN_BYTES = 4 * 1024 * 1024;

export interface ReadSpan {
  readonly pack: string;
  readonly offset: number;
  readonly length: number;
  /** By offset; one that is asked for twice is here twice. */
  readonly refs: readonly ChunkRef[];
}

/** Spans in the order in which their packs were first asked for. */
export function planReads(refs: Iterable<ChunkRef>): ReadSpan[] {
  const byPack = new Map<string, ChunkRef[]>();
  for (const ref of refs) {
    const list = byPack.get(ref.pack);
    if (list === undefined) byPack.set(ref.pack, [ref]);
    else list.push(ref);
  }
  return [...byPack.values()].flatMap(planPack);
}

function planPack(refs: ChunkRef[]): ReadSpan[] {
  const spans: { pack: string; offset: number; length: number; refs: ChunkRef[] }[] = [];
  for (const ref of refs.sort((a, b) => a.offset - b.offset)) {
    const span = spans.at(-1);
    const endBytes = ref.offset + ref.length;
    if (span === undefined || !joins(span, ref)) {
      spans.push({ pack: ref.pack, offset: ref.offset, length: ref.length, refs: [ref] });
    } else {
      span.length = Math.max(span.length, endBytes - span.offset);
      span.refs.push(ref);
    }
  }
  return spans;
}

function joins(span: { readonly offset: number; readonly length: number }, ref: ChunkRef): boolean {
  const gapBytes = ref.offset - (span.offset + span.length);
  return gapBytes <= MAX_GAP_BYTES && ref.offset + ref.length - span.offset <= MAX_SPAN_BYTES;
}
