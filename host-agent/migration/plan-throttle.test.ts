import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LEAST_CPU_SHARE } from '../protocol/migration-messages.ts';
import { isChasing, planShare } from './plan-throttle.ts';

const MB = 1_000_000;

test.each([
  ['half of the link is fine', 1, 50 * MB, 100 * MB, 1],
  ['as fast as the link: a quarter of its CPU', 1, 100 * MB, 100 * MB, 0.25],
  ['again, from where it is', 0.8, 100 * MB, 100 * MB, 0.2],
  ['never less than the least', 0.2, 100 * MB, 10 * MB, LEAST_CPU_SHARE],
  ['a share that is less already stays', 0.05, 100 * MB, 10 * MB, 0.05],
  ['nothing is known of the link', 1, 100 * MB, 0, 1],
])('%s', (_, share, dirtyBytesPerSecond, bytesPerSecond, next) => {
  expect(planShare(share, { dirtyBytesPerSecond, bytesPerSecond })).toBeCloseTo(next, 10);
});

test('a guest whose writes follow its CPU is not chasing after a few steps', () => {
  const rate = fc.double({ min: 1 * MB, max: 1_000 * MB, noNaN: true });
  fc.assert(
    fc.property(rate, fc.double({ min: 0.1, max: 4, noNaN: true }), (bytesPerSecond, factor) => {
      const full = bytesPerSecond * factor;
      let share = 1;
      for (let step = 0; step < 4; step += 1) {
        share = planShare(share, { dirtyBytesPerSecond: full * share, bytesPerSecond });
      }
      const rates = { dirtyBytesPerSecond: full * share * 0.999, bytesPerSecond };
      expect(isChasing(rates)).toBe(false);
    }),
  );
});
