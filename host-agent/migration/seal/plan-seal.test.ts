import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PACK_TARGET_BYTES as PACK } from '../../chunks/pack.ts';
import { MAX_STEP_MS, type PastSeal, planSeal, SEAL_SHARE } from './plan-seal.ts';

const MINUTE_MS = 60_000;
const LARGE = 1_000 * PACK;
/** A pack takes 100 ms of a core, and this long to the store. */
const steps = (packs: number, msPerPack: number): PastSeal[] => [
  { bytes: packs * PACK, ms: packs * msPerPack, cpuMs: packs * 100 },
];
const FAILED: PastSeal = { bytes: 0, ms: 30_000, cpuMs: 200 };

test.each<[string, Parameters<typeof planSeal>[0], number]>([
  ['nothing is cold', { coldBytes: 0, restedMs: MINUTE_MS + 1, history: [] }, 0],
  ['less than a pack waits', { coldBytes: PACK - 1, restedMs: MINUTE_MS, history: [] }, 0],
  [
    '… and then goes as it is',
    { coldBytes: PACK - 1, restedMs: MINUTE_MS + 1, history: [] },
    PACK - 1,
  ],
  ['the first step is small', { coldBytes: LARGE, restedMs: MINUTE_MS, history: [] }, 2 * PACK],
  [
    'whole packs of what is cold',
    { coldBytes: 2.5 * PACK, restedMs: MINUTE_MS, history: steps(2, 100) },
    2 * PACK,
  ],
  [
    "a core's share of the rest pays for it",
    { coldBytes: LARGE, restedMs: 15_000, history: steps(2, 100) },
    15 * PACK,
  ],
  ['… which may be none', { coldBytes: LARGE, restedMs: 900, history: steps(2, 100) }, 0],
  [
    'a rest counts for a minute at most',
    { coldBytes: LARGE, restedMs: 60 * MINUTE_MS, history: steps(2, 50) },
    60 * PACK,
  ],
  [
    'a slow store gets what it takes in one step',
    { coldBytes: LARGE, restedMs: MINUTE_MS, history: steps(2, 1_000) },
    5 * PACK,
  ],
  ['… or a pack', { coldBytes: LARGE, restedMs: MINUTE_MS, history: steps(1, 20_000) }, PACK],
  [
    'a store that failed is tried with a pack',
    { coldBytes: LARGE, restedMs: MINUTE_MS, history: [...steps(9, 10), FAILED] },
    PACK,
  ],
  [
    'one that never took anything, too, after a rest that pays',
    { coldBytes: LARGE, restedMs: 1_000, history: [FAILED] },
    0,
  ],
])('%s', (_name, situation, limitBytes) => {
  expect(planSeal(situation)).toEqual({ limitBytes });
});

test('property: over time sealing takes its share of a core, at a pace that no store slows', () => {
  const guest = fc.record({
    cpuMsPerPack: fc.integer({ min: 20, max: 2_000 }),
    storeMsPerPack: fc.integer({ min: 10, max: 1_000 }),
    waitMs: fc.integer({ min: 500, max: 15_000 }),
  });
  fc.assert(
    fc.property(guest, ({ cpuMsPerPack, storeMsPerPack, waitMs }) => {
      let history: PastSeal[] = [];
      let [totalMs, cpuMs, restedMs, longestMs] = [0, 0, 0, 0];
      for (let pulse = 0; pulse < 300; pulse += 1) {
        restedMs += waitMs;
        totalMs += waitMs;
        const packs = planSeal({ coldBytes: LARGE, restedMs, history }).limitBytes / PACK;
        if (packs === 0) continue;
        const step = {
          bytes: packs * PACK,
          ms: packs * storeMsPerPack,
          cpuMs: packs * cpuMsPerPack,
        };
        history = [...history, step];
        [totalMs, cpuMs, restedMs] = [totalMs + step.ms, cpuMs + step.cpuMs, 0];
        // The first one is a guess.
        if (history.length > 1) longestMs = Math.max(longestMs, step.ms);
      }
      const guessed = history[0]?.cpuMs ?? 0;
      expect(cpuMs - guessed).toBeLessThanOrEqual(SEAL_SHARE * totalMs);
      expect(longestMs).toBeLessThanOrEqual(Math.max(MAX_STEP_MS, storeMsPerPack));
      expect(history.length).toBeGreaterThan(0);
    }),
  );
});
