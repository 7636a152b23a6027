import { expect, test } from 'vitest';
import { openTapQueue, parseTapDrops, readTapDrops } from './tap-queue.ts';

const TABLE = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  tap0:     100       2    0    5    0     0          0         0      300       4    0    7    0     0       0          0
`;

test('the drops of a tap are those on the way to its reader', () => {
  expect(parseTapDrops(TABLE)).toBe(7);
  expect(parseTapDrops('')).toBeUndefined();
});

test('a process without a tap has no queue', () => {
  expect(openTapQueue(process.pid)).toBeUndefined();
  expect(readTapDrops(process.pid)).toBeUndefined();
});
