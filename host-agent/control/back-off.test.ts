import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backOffMs } from './back-off.ts';

test('doubles from 200 ms to ten seconds', () => {
  expect([0, 1, 2, 3, 4, 5, 6, 7].map((attempt) => backOffMs(attempt, 0))).toEqual([
    200, 400, 800, 1600, 3200, 6400, 10_000, 10_000,
  ]);
});

test('stays between half of it and all of it, for any attempt', () => {
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
      const full = backOffMs(attempt, 0);
      const waited = backOffMs(attempt, random);
      return waited <= full && waited >= full / 2 - 1 && full <= 10_000;
    }),
  );
});
