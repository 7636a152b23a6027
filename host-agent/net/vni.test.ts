import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fromInteger, toInteger } from '../protocol/ipv4-number.ts';
import { numberOf, vmNumber, vniOf } from './vni.ts';

test('a VNI names its VM again, in 24 bits, whatever the epoch', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 65_534 }), fc.nat(), (low, epoch) => {
      const number = vmNumber(fromInteger(toInteger('10.201.0.0') + low));
      const vni = vniOf({ number, epoch });
      expect(vni).toBeLessThan(2 ** 24);
      expect(numberOf(vni)).toBe(number);
    }),
  );
});

test('VMs of one range, and epochs one after the other, have different VNIs', () => {
  const [one, other] = ['10.201.0.5', '10.201.1.5'].map(vmNumber);
  expect(one).not.toBe(other);
  expect(vniOf({ number: 5, epoch: 7 })).not.toBe(vniOf({ number: 5, epoch: 8 }));
  expect(vniOf({ number: 5, epoch: 1_000_000 })).toBe(vniOf({ number: 5, epoch: 0 }));
});

test.each(['10.201.255.254', '0.0.0.1', '255.255.255.255'])('%s is a number and back', (text) => {
  expect(fromInteger(toInteger(text))).toBe(text);
});
