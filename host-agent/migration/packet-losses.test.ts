import { expect, test } from 'vitest';
import { drainTap, readDropped, sumLosses } from './packet-losses.ts';

function tapThatHolds(looks: number) {
  let left = looks;
  return {
    hasFrames: () => {
      left -= 1;
      return left >= 0;
    },
    looksLeft: () => left,
  };
}

test('a tap is waited for until it is empty', async () => {
  const tap = tapThatHolds(3);
  await drainTap(tap);
  expect(tap.looksLeft()).toBe(-1);
});

test('… but not for a guest that takes nothing', async () => {
  await drainTap({ hasFrames: () => true });
});

test.each([
  ['without a gateway', undefined],
  ['with a switch that does not count', { toGateway: 0, fromGateway: 0, forwarded: 0 }],
])('nothing is known %s', async (_name, traffic) => {
  const uplink = traffic === undefined ? undefined : { traffic: async () => traffic };
  expect(await readDropped({ qemuPid: process.pid, uplink })).toBeNull();
});

test.each([
  [1, 2, 3],
  [0, null, null],
  [null, 0, null],
])('%s and %s make %s', (one, other, sum) => {
  expect(sumLosses(one, other)).toBe(sum);
});
