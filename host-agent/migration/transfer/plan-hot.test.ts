import { expect, test } from 'vitest';
import { RANGE_BYTES } from '../image/block-image.ts';
import { isTimeForHot } from './plan-hot.ts';

const MB = 1_000_000;
const told = (fromStoreBytes: number, storeRangesLeft: number) => ({
  receivedBytes: 0,
  fromStoreBytes,
  storeRangesLeft,
});
const RANGES = Math.ceil((100 * MB) / RANGE_BYTES);

test.each([
  ['the target has said nothing', undefined, 200 * MB, 100 * MB, false],
  ['nothing has come from the store', told(0, RANGES), 200 * MB, 100 * MB, false],
  ['… nor is anything known of the link', told(0, RANGES), 200 * MB, 0, false],
  ['the store is done', told(100 * MB, 0), 0, 100 * MB, true],
  ['the store takes another second, sending two', told(100 * MB, RANGES), 200 * MB, 100 * MB, true],
  [
    'the store takes another second, sending half of one',
    told(100 * MB, RANGES),
    50 * MB,
    100 * MB,
    false,
  ],
  [
    'a link of which nothing is known is as fast as the store',
    told(100 * MB, RANGES),
    50 * MB,
    0,
    false,
  ],
  ['… and then needs as long', told(100 * MB, RANGES), 101 * MB, 0, true],
])('%s', (_name, target, leftBytes, bytesPerSecond, isTime) => {
  expect(isTimeForHot({ target, leftBytes, bytesPerSecond }, 1_000)).toBe(isTime);
});

test('it has just begun', () => {
  const figures = { target: told(100 * MB, RANGES), leftBytes: 200 * MB, bytesPerSecond: MB };
  expect(isTimeForHot(figures, 0)).toBe(false);
});
