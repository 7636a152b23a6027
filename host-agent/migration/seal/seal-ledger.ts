/**
 * What of one area is sealed: the chunk of each range, and which of its units have changed since.
 *
 *   unsealed ──begin──▶ being sealed ──done──▶ sealed, with what changed since `begin` as stale
 *                            └──failed──▶ as before, what changed is known all the same
 *
 * Pure but for its memory. Told of every change; what it is not told of it takes as unchanged.
 */
import type { ChunkRef } from '../../chunks/chunk-codec.ts';
import type { Area } from '../transfer/areas.ts';
import { unitsOf } from '../transfer/areas.ts';
import type { RangeLayout } from '../transfer/layout.ts';

interface Sealed {
  readonly ref: ChunkRef;
  readonly stale: Set<number>;
}

const BASE: RangeLayout = { kind: 'base' };
const ZERO: RangeLayout = { kind: 'zero' };
const PEER: RangeLayout = { kind: 'peer' };

export class SealLedger {
  readonly #sealed = new Map<number, Sealed>();
  readonly #pending = new Map<number, Set<number>>();

  get sealedRanges(): number {
    return this.#sealed.size;
  }

  /** These units have changed. */
  change(units: Iterable<number>, unitsPerRange: number): void {
    for (const unit of units) {
      const range = Math.floor(unit / unitsPerRange);
      this.#sealed.get(range)?.stale.add(unit);
      this.#pending.get(range)?.add(unit);
    }
  }

  isPending(range: number): boolean {
    return this.#pending.has(range);
  }

  /** The range's content is read now; what changes from now on is stale in its chunk. */
  begin(range: number): void {
    this.#pending.set(range, new Set());
  }

  done(range: number, ref: ChunkRef): void {
    this.#sealed.set(range, { ref, stale: this.#pending.get(range) ?? new Set() });
    this.#pending.delete(range);
  }

  failed(range: number): void {
    this.#pending.delete(range);
  }

  /** The chunks of which this is true are in the store no longer, or will not be. */
  forget(isGone: (ref: ChunkRef) => boolean): void {
    for (const [range, { ref }] of this.#sealed) if (isGone(ref)) this.#sealed.delete(range);
  }

  /** A chunk may be most of the way stale; then it is not worth fetching. */
  layoutOf(area: Area, range: number): RangeLayout {
    const kind = kindOf(area, range);
    if (kind === 'base') return BASE;
    if (kind === 'zero') return ZERO;
    const sealed = this.#sealed.get(range);
    if (sealed === undefined) return PEER;
    const { first, end } = unitsOf(area, range);
    if (sealed.stale.size * 2 > end - first) return PEER;
    return { kind: 'chunk', ref: sealed.ref, stale: [...sealed.stale].toSorted((a, b) => a - b) };
  }

  /** Whether the store lacks something of the range that neither base nor zero tells. */
  isUnsealed(area: Area, range: number): boolean {
    const sealed = this.#sealed.get(range);
    if (sealed !== undefined && sealed.stale.size === 0) return false;
    return kindOf(area, range) === 'mixed';
  }
}

/** `mixed`: it takes a chunk to tell what the range is. */
function kindOf(area: Area, range: number): 'base' | 'zero' | 'mixed' {
  const { first, end } = unitsOf(area, range);
  const kind = area.stateOf(first);
  if (kind === 'own') return 'mixed';
  for (let unit = first + 1; unit < end; unit += 1) {
    if (area.stateOf(unit) !== kind) return 'mixed';
  }
  return kind;
}
