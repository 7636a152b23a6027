import { expect, test } from 'vitest';
import { countDeath, restartDelayMs } from './restart-delay.ts';

test.each([
  [1, 250],
  [2, 500],
  [8, 30_000],
  [5000, 30_000],
])('after %d deaths in a row it waits %d ms', (deaths, delayMs) => {
  expect(restartDelayMs(deaths)).toBe(delayMs);
});

test('a long life starts the count anew', () => {
  expect(countDeath({ deaths: 7, startedAtMs: 0 }, 59_999)).toBe(8);
  expect(countDeath({ deaths: 7, startedAtMs: 0 }, 60_000)).toBe(1);
});
