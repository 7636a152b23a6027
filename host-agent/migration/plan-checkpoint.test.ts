import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  CHECKPOINT_SHARE,
  DEFAULT_INTERVAL_MS,
  isDue,
  MAX_INTERVAL_MS,
  type PastCheckpoint,
  planCheckpoint,
} from './plan-checkpoint.ts';

const MINUTE_MS = 60_000;
const cheap: PastCheckpoint = { stopMs: 40, busyMs: 2_000 };
const dear: PastCheckpoint = { stopMs: 100, busyMs: 17_900 };

test.each<[string, readonly PastCheckpoint[], number]>([
  ['none yet', [], DEFAULT_INTERVAL_MS],
  ['cheap ones', [cheap, cheap], DEFAULT_INTERVAL_MS],
  ['as dear as the default allows', [{ stopMs: 0, busyMs: 9_000 }], DEFAULT_INTERVAL_MS],
  ['a dear one', [cheap, dear], 10 * MINUTE_MS],
  ['a dear one before a cheap one', [dear, cheap], 10 * MINUTE_MS],
  ['a dear one long ago', [dear, cheap, cheap, cheap], DEFAULT_INTERVAL_MS],
  ['one that took for ever', [{ stopMs: 0, busyMs: 10 * MINUTE_MS }], MAX_INTERVAL_MS],
])('%s', (_what, history, intervalMs) => {
  expect(planCheckpoint(history).intervalMs).toBe(intervalMs);
});

test('an operator may want them oftener, or not so often', () => {
  expect(planCheckpoint([], 5_000).intervalMs).toBe(5_000);
  expect(planCheckpoint([dear], 5_000).intervalMs).toBe(10 * MINUTE_MS);
  expect(planCheckpoint([dear], 30 * MINUTE_MS).intervalMs).toBe(30 * MINUTE_MS);
  const due = { history: [], sinceMs: 0, shortestMs: 5_000 };
  expect([4_999, 5_000].map((nowMs) => isDue({ ...due, nowMs }))).toEqual([false, true]);
});

test('it never takes more than its share, up to the longest interval', () => {
  const past = fc.record({
    stopMs: fc.integer({ min: 0, max: 5_000 }),
    busyMs: fc.integer({ min: 0, max: 90_000 }),
  });
  fc.assert(
    fc.property(fc.array(past, { maxLength: 6 }), (history) => {
      const { intervalMs } = planCheckpoint(history);
      const costMs = Math.max(0, ...history.slice(-3).map((one) => one.stopMs + one.busyMs));
      return intervalMs === MAX_INTERVAL_MS || costMs <= intervalMs * CHECKPOINT_SHARE + 1e-6;
    }),
  );
});

test('it is due when its interval has passed, and not before', () => {
  const at = (nowMs: number) => isDue({ history: [cheap], sinceMs: 1_000, nowMs });
  expect(at(1_000 + DEFAULT_INTERVAL_MS - 1)).toBe(false);
  expect(at(1_000 + DEFAULT_INTERVAL_MS)).toBe(true);
});
