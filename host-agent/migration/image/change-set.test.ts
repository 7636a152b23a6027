import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ChangeSet } from './change-set.ts';

test('property: what is taken is what was marked and not cleared, each once', () => {
  const index = fc.nat({ max: 99 });
  const step = fc.oneof(
    fc.record({ kind: fc.constant('mark' as const), index }),
    fc.record({ kind: fc.constant('clear' as const), index }),
    fc.record({ kind: fc.constant('take' as const), index }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const changes = new ChangeSet(100);
      const model = new Set<number>();
      for (const { kind, index: at } of steps) {
        if (kind === 'mark') {
          changes.mark(at);
          model.add(at);
        } else if (kind === 'clear') {
          changes.clear(at);
          model.delete(at);
        } else {
          const taken = changes.take(at);
          expect(taken).toHaveLength(Math.min(at, model.size));
          for (const each of taken) expect(model.delete(each)).toBe(true);
        }
        expect(changes.size).toBe(model.size);
        expect(changes.has(at)).toBe(model.has(at));
      }
    }),
  );
});

test('a mark that comes again and again does not keep the others from being taken', () => {
  const changes = new ChangeSet(200);
  for (const at of [0, 64, 199]) changes.mark(at);
  const taken = new Set<number>();
  for (let round = 0; round < 3; round += 1) {
    changes.mark(0);
    changes.mark(1);
    for (const at of changes.take(2)) taken.add(at);
  }
  expect([...taken].toSorted((a, b) => a - b)).toEqual([0, 1, 64, 199]);
});

test.each([-1, 0.5, 10, Number.NaN])('index %s is refused', (index) => {
  expect(() => new ChangeSet(10).mark(index)).toThrow(RangeError);
});
