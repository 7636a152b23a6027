import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ChangeSet } from './change-set.ts';

const CAPACITY = 100;
const anyItem = fc.nat({ max: CAPACITY - 1 });
const anyStep = fc.oneof(
  fc.record({ kind: fc.constant('mark' as const), item: anyItem }),
  fc.record({ kind: fc.constant('clear' as const), item: anyItem }),
  fc.record({ kind: fc.constant('take' as const), item: fc.integer({ min: 1, max: 40 }) }),
);

test('property: it is a set, and taking removes', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 200 }), (steps) => {
      const changes = new ChangeSet(CAPACITY);
      const model = new Set<number>();
      for (const { kind, item } of steps) {
        if (kind === 'mark') {
          changes.mark(item);
          model.add(item);
        } else if (kind === 'clear') {
          changes.clear(item);
          model.delete(item);
        } else {
          const taken = changes.take(item);
          expect(taken.length).toBe(Math.min(item, model.size));
          expect(taken.filter((one) => !model.delete(one))).toEqual([]);
        }
        expect(changes.size).toBe(model.size);
      }
      expect([...changes]).toEqual([...model].toSorted((a, b) => a - b));
      for (let item = 0; item < CAPACITY; item += 1)
        expect(changes.has(item)).toBe(model.has(item));
    }),
  );
});

test('taking goes on where it ended, so that an item marked again and again waits its turn', () => {
  const changes = new ChangeSet(CAPACITY);
  for (let item = 0; item < CAPACITY; item += 1) changes.mark(item);
  const seen = new Set<number>();
  for (let turn = 0; turn < CAPACITY / 10; turn += 1) {
    for (const item of changes.take(10)) seen.add(item);
    for (let item = 0; item < 10; item += 1) changes.mark(item);
  }
  expect(seen.size).toBe(CAPACITY);
});

test('an item beyond the capacity is a mistake of the caller', () => {
  const changes = new ChangeSet(CAPACITY);
  for (const item of [-1, CAPACITY, Number.NaN]) {
    expect(() => changes.mark(item)).toThrow(RangeError);
    expect(() => changes.has(item)).toThrow(RangeError);
  }
});

test('clearAll leaves nothing', () => {
  const changes = new ChangeSet(CAPACITY);
  changes.mark(3);
  changes.mark(99);
  changes.clearAll();
  expect([changes.size, changes.take(10), [...changes]]).toEqual([0, [], []]);
});
