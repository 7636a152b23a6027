import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ChunkRef } from './chunk-codec.ts';
import { MAX_GAP_BYTES, MAX_SPAN_BYTES, planReads } from './read-plan.ts';

function refAt(pack: string, offset: number, length: number): ChunkRef {
  return { name: `${pack}${offset}`, pack, offset, length, size: length };
}

describe('planReads', () => {
  it('covers each chunk once by spans within the limits', () => {
    const ref = fc
      .tuple(fc.constantFrom('p', 'q'), fc.nat(15_000_000), fc.integer({ min: 29, max: 65_565 }))
      .map(([pack, offset, length]) => refAt(pack, offset, length));
    fc.assert(
      fc.property(fc.array(ref, { maxLength: 100 }), (refs) => {
        const spans = planReads(refs);
        const planned = spans.flatMap((span) => span.refs);
        expect(new Set(planned)).toEqual(new Set(refs));
        expect(planned).toHaveLength(refs.length);
        for (const { pack, offset, length, refs: own } of spans) {
          expect(length).toBeLessThanOrEqual(MAX_SPAN_BYTES);
          const inside = (one: ChunkRef) =>
            one.pack === pack && one.offset >= offset && one.offset + one.length <= offset + length;
          expect(own.every(inside)).toBe(true);
        }
      }),
    );
  });

  it('reads neighbours together and over small gaps only', () => {
    const near = [refAt('p', 0, 100), refAt('p', 100, 100), refAt('p', 200 + MAX_GAP_BYTES, 100)];
    expect(planReads(near)).toHaveLength(1);
    expect(planReads([...near, refAt('p', 301 + 2 * MAX_GAP_BYTES, 1)])).toHaveLength(2);
    expect(planReads([refAt('p', 0, 1), refAt('q', 1, 1)])).toHaveLength(2);
    expect(planReads([])).toEqual([]);
  });
});
