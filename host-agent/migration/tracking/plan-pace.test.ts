import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_WAIT_MS, MIN_WAIT_MS, type PastPulse, planPace, TRACKING_SHARE } from './plan-pace.ts';

const idle: PastPulse = { ms: 2, pages: 30, changedPages: 20, waitedMs: 1_000 };
const busy: PastPulse = { ms: 40, pages: 2_000, changedPages: 1_500, waitedMs: 1_000 };
const firstPass: PastPulse = { ms: 1_700, pages: 131_000, changedPages: 3_300, waitedMs: 0 };

test.each<[string, readonly PastPulse[], number]>([
  ['nothing is known yet', [], 0],
  ['after the first pass alone', [firstPass], MAX_WAIT_MS],
  ['the first pass is soon forgotten', [firstPass, busy, busy], 2_400],
  ['a guest that does nothing is asked more and more rarely', [idle, idle], 1_500],
  ['… up to a limit', [idle, { ...idle, waitedMs: 14_000 }], MAX_WAIT_MS],
  ['one that wakes up is asked again at the pace it pays for', [idle, idle, idle, busy], 500],
  ['one whose pulses cost much is asked rarely', [busy, busy], 2_400],
  ['one that changes everything hardly ever', [{ ...busy, ms: 3_000 }], MAX_WAIT_MS],
])('%s', (_what, history, waitMs) => {
  expect(planPace(history).waitMs).toBeCloseTo(waitMs);
});

function settle(cost: Omit<PastPulse, 'waitedMs'>): number {
  const history: PastPulse[] = [];
  let waitedMs = 0;
  for (let pulse = 0; pulse < 50; pulse += 1) {
    history.push({ ...cost, waitedMs });
    waitedMs = planPace(history).waitMs;
  }
  return waitedMs;
}

test('property: the share is kept wherever the limits allow it, and idle guests end at the limit', () => {
  const anyCost = fc.record({
    ms: fc.integer({ min: 1, max: 200 }),
    pages: fc.integer({ min: 0, max: 20_000 }),
  });
  fc.assert(
    fc.property(anyCost, (cost) => {
      const waitMs = settle({ ...cost, changedPages: cost.pages });
      expect(waitMs).toBeGreaterThanOrEqual(MIN_WAIT_MS);
      if (waitMs < MAX_WAIT_MS) {
        expect(cost.ms / (cost.ms + waitMs)).toBeLessThanOrEqual(TRACKING_SHARE);
      }
      expect(settle({ ...cost, changedPages: 0 })).toBe(MAX_WAIT_MS);
    }),
  );
});
