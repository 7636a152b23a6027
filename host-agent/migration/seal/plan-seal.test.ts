import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PACK_TARGET_BYTES as PACK } from '../../chunks/pack.ts';
import {
  IDLE_SHARE,
  MAX_STEP_MS,
  type PastSeal,
  planSeal,
  SEAL_SHARE,
  STORE_SHARE,
} from './plan-seal.ts';

const MINUTE_MS = 60_000;
const LARGE = 1_000 * PACK;
/** A pack takes 100 ms of a core, and this long to the store. */
const steps = (packs: number, msPerPack: number): PastSeal[] => [
  { bytes: packs * PACK, ms: packs * msPerPack, cpuMs: packs * 100 },
];
const FAILED: PastSeal = { bytes: 0, ms: 30_000, cpuMs: 200 };

type Situation = Omit<Parameters<typeof planSeal>[0], 'idleCores'> & {
  readonly idleCores?: number;
};

test.each<[string, Situation, number]>([
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
    { coldBytes: LARGE, restedMs: 5_000, history: steps(2, 100) },
    5 * PACK,
  ],
  ['… which may be too little', { coldBytes: LARGE, restedMs: 3_900, history: steps(2, 100) }, 0],
  [
    'a core that nobody uses pays half of itself',
    { coldBytes: LARGE, restedMs: 1_000, idleCores: 1, history: steps(2, 100) },
    5 * PACK,
  ],
  [
    '… and half a core half of that',
    { coldBytes: LARGE, restedMs: 2_000, idleCores: 0.5, history: steps(2, 100) },
    5 * PACK,
  ],
  [
    '… and two pay no more than half of one',
    { coldBytes: LARGE, restedMs: 1_000, idleCores: 2, history: steps(2, 100) },
    5 * PACK,
  ],
  [
    'a busy host pays as one of which nothing is known',
    { coldBytes: LARGE, restedMs: 5_000, idleCores: 0.01, history: steps(2, 100) },
    5 * PACK,
  ],
  [
    'no step is longer than a second at the pace of the store',
    { coldBytes: LARGE, restedMs: 60 * MINUTE_MS, history: steps(2, 50) },
    20 * PACK,
  ],
  [
    'one step that was slow, or quick, is no pace',
    {
      coldBytes: LARGE,
      restedMs: 60 * MINUTE_MS,
      history: [...steps(2, 50), ...steps(2, 5_000), ...steps(2, 1), ...steps(2, 50)],
    },
    20 * PACK,
  ],
  ['… or a pack', { coldBytes: LARGE, restedMs: MINUTE_MS, history: steps(1, 20_000) }, PACK],
  [
    'the link of the store rests for as long as it was used',
    { coldBytes: LARGE, restedMs: 19_999, idleCores: 2, history: steps(1, 20_000) },
    0,
  ],
  [
    'a store that failed is tried with a pack',
    { coldBytes: LARGE, restedMs: MINUTE_MS, history: [...steps(9, 10), FAILED] },
    PACK,
  ],
  ['… after a rest', { coldBytes: LARGE, restedMs: 29_000, history: [FAILED] }, 0],
])('%s', (_name, situation, limitBytes) => {
  expect(planSeal({ idleCores: undefined, ...situation })).toEqual({ limitBytes });
});

test('property: over time sealing takes its share of a core and of the link, whatever the store', () => {
  const guest = fc.record({
    cpuMsPerPack: fc.integer({ min: 20, max: 2_000 }),
    storeMsPerPack: fc.integer({ min: 10, max: 1_000 }),
    idleCores: fc.double({ min: 0, max: 4, noNaN: true }),
  });
  fc.assert(
    fc.property(guest, ({ cpuMsPerPack, storeMsPerPack, idleCores }) => {
      const share = Math.min(IDLE_SHARE, Math.max(SEAL_SHARE, idleCores * IDLE_SHARE));
      let history: PastSeal[] = [];
      let [totalMs, cpuMs, storeMs, restedMs, longestMs] = [0, 0, 0, 0, 0];
      for (let look = 0; look < 5_000; look += 1) {
        restedMs += 250;
        totalMs += 250;
        const plan = planSeal({ coldBytes: LARGE, restedMs, idleCores, history });
        const packs = plan.limitBytes / PACK;
        if (packs === 0) continue;
        const step = {
          bytes: packs * PACK,
          ms: packs * storeMsPerPack,
          cpuMs: packs * cpuMsPerPack,
        };
        history = [...history, step];
        [totalMs, cpuMs, restedMs] = [totalMs + step.ms, cpuMs + step.cpuMs, 0];
        storeMs += step.ms;
        // The first one is a guess.
        if (history.length > 1) longestMs = Math.max(longestMs, step.ms);
      }
      const guessed = history[0];
      // A step is worth a request for every pack, but for one a minute.
      const waited = (totalMs / MINUTE_MS) * cpuMsPerPack;
      expect(cpuMs - (guessed?.cpuMs ?? 0)).toBeLessThanOrEqual(share * totalMs + waited);
      expect(storeMs - (guessed?.ms ?? 0)).toBeLessThanOrEqual(STORE_SHARE * totalMs);
      expect(longestMs).toBeLessThanOrEqual(Math.max(MAX_STEP_MS, storeMsPerPack));
      expect(history.length).toBeGreaterThan(0);
    }),
  );
});
