import fc from 'fast-check';
import { expect, it } from 'vitest';
import { dayOf, spendByDay } from './day-spend.ts';

const MIDNIGHT_MS = Date.parse('2026-11-26T00:00:00Z');
const HOUR_MS = 3_600_000;

it('splits what is spent over midnight', () => {
  const span = { fromMs: MIDNIGHT_MS - HOUR_MS, toMs: MIDNIGHT_MS + 2 * HOUR_MS };
  expect(spendByDay(span, 0.5)).toEqual([
    { day: '2026-11-25', usd: 0.5, untilMs: MIDNIGHT_MS },
    { day: '2026-11-26', usd: 1, untilMs: span.toMs },
  ]);
  expect(spendByDay({ fromMs: MIDNIGHT_MS, toMs: MIDNIGHT_MS }, 1)).toEqual([]);
});

it('loses and doubles nothing, however the time is cut', () => {
  const cuts = fc.array(fc.integer({ min: 0, max: 200 * HOUR_MS }), { minLength: 2, maxLength: 9 });
  fc.assert(
    fc.property(cuts, (given) => {
      const times = given.toSorted((a, b) => a - b);
      let sum = 0;
      for (const [at, toMs] of times.entries()) {
        const fromMs = times[at - 1];
        if (fromMs === undefined) continue;
        for (const { day, usd, untilMs } of spendByDay({ fromMs, toMs }, 2)) {
          sum += usd;
          expect(day).toBe(dayOf(untilMs - 1));
        }
      }
      const hours = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / HOUR_MS;
      expect(sum).toBeCloseTo(hours * 2, 6);
    }),
  );
});
