import fc from 'fast-check';
import { expect, test } from 'vitest';
import { eachEntry } from '../../chunks/entries.ts';
import {
  eachPlace,
  LayoutProgress,
  type RangeLayout,
  type RangePlace,
  toBatches,
  toManifestEntries,
} from './layout.ts';
import { orderColdestFirst, rangesOf } from './send-order.ts';

const anyRef = fc.record({
  name: fc.string({ maxLength: 27 }),
  pack: fc.constantFrom('p1', 'p2'),
  offset: fc.nat(),
  length: fc.nat(),
  size: fc.nat(),
});
const anyRange: fc.Arbitrary<RangeLayout> = fc.oneof(
  fc.constantFrom<RangeLayout>({ kind: 'base' }, { kind: 'zero' }, { kind: 'peer' }),
  fc.record({
    kind: fc.constant('chunk' as const),
    ref: anyRef,
    stale: fc.array(fc.nat(), { maxLength: 3 }),
  }),
);

function placeOf(range: RangeLayout): RangePlace {
  return range.kind === 'chunk' ? { kind: 'chunk', ref: range.ref } : range;
}

test('property: a layout comes back from its runs as it was', () => {
  fc.assert(
    fc.property(fc.array(anyRange, { minLength: 1, maxLength: 200 }), (ranges) => {
      const batches = toBatches({ area: 3, ranges });
      expect(batches.flatMap(({ runs }) => [...eachPlace(runs)])).toEqual(ranges.map(placeOf));
    }),
  );
});

test('a long area goes in batches that follow each other', () => {
  const ranges = Array.from({ length: 10_000 }, (): RangeLayout => ({ kind: 'peer' }));
  const batches = toBatches({ area: 0, ranges });
  expect(batches.map(({ first }) => first)).toEqual([0, 4096, 8192]);
  const progress = new LayoutProgress(new Map([[0, ranges.length]]));
  expect(batches.map((batch) => progress.accept(batch))).toEqual([true, true, true]);
  expect(progress.isComplete).toBe(true);
});

test('a layout has no gaps, nothing twice, and nothing beyond the area', () => {
  const progress = new LayoutProgress(new Map([[0, 4]]));
  const batch = (first: number, count: number, area = 0) =>
    progress.accept({ area, first, runs: [{ kind: 'base', count }] });
  expect([batch(1, 1), batch(0, 5), batch(0, 2, 1)]).toEqual([false, false, false]);
  expect([batch(0, 2), batch(0, 2), batch(3, 1)]).toEqual([true, false, false]);
  expect(progress.isComplete).toBe(false);
  expect([batch(2, 2), progress.isComplete]).toEqual([true, true]);
});

test('property: a manifest has entries only when nothing is stale or with a peer', () => {
  fc.assert(
    fc.property(fc.array(anyRange, { maxLength: 20 }), (ranges) => {
      const isWhole = ranges.every(
        (range) => range.kind !== 'peer' && (range.kind !== 'chunk' || range.stale.length === 0),
      );
      const entries = toManifestEntries(ranges);
      expect(entries !== undefined).toBe(isWhole);
      if (entries) expect([...eachEntry(entries)]).toEqual(ranges.map(placeOf));
    }),
  );
});

test('property: the coldest go first, neighbours stay together, none is lost', () => {
  const pending = fc.array(
    fc.record({ area: fc.nat({ max: 2 }), range: fc.nat({ max: 9 }), heat: fc.nat({ max: 3 }) }),
  );
  fc.assert(
    fc.property(pending, (ranges) => {
      const ordered = orderColdestFirst(ranges);
      expect(ordered).toHaveLength(ranges.length);
      expect(new Set(ordered)).toEqual(new Set(ranges));
      const keys = ordered.map(({ heat, area, range }) => heat * 1000 + area * 100 + range);
      expect(keys).toEqual(keys.toSorted((a, b) => a - b));
    }),
  );
});

test('units are told as ranges, each once', () => {
  expect(rangesOf([0, 3, 15, 16, 47, 48], 16)).toEqual([0, 1, 2, 3]);
});
