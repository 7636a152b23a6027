import { expect, test } from 'vitest';
import { capDelayMs } from './cap-delay.ts';

test.each([
  [-5, 0],
  [0, 0],
  [1_500, 1_500],
  [2 ** 31 - 1, 2 ** 31 - 1],
  [2 ** 31, 2 ** 31 - 1],
  [Number.MAX_SAFE_INTEGER, 2 ** 31 - 1],
])('%d ms becomes %d ms', (ms, capped) => {
  expect(capDelayMs(ms)).toBe(capped);
});
