import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chooseGuestAddress } from './guest-addresses.ts';

const vmId = 'vm-1a2b3c4d';

test('the last free address is found, and none in a full range', () => {
  const range = '10.201.0.0/30';
  const taken = new Set(['10.201.0.1']);
  expect(chooseGuestAddress({ range, vmId, taken })).toBe('10.201.0.2');
  expect(chooseGuestAddress({ range, vmId, taken: taken.add('10.201.0.2') })).toBeUndefined();
});

test('hosts choose alike for one VM and apart for most others', () => {
  const range = '10.201.0.0/16';
  const choose = (n: number) =>
    chooseGuestAddress({ range, vmId: `vm-${n}`, taken: new Set<string>() });
  expect(choose(1)).toBe(choose(1));
  const chosen = new Set([...Array(500).keys()].map(choose));
  expect(chosen.size).toBeGreaterThan(490);
});

test('addresses claimed one after the other never repeat', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 253 }), (count) => {
      const taken = new Set<string>();
      for (let n = 0; n < count; n += 1) {
        const request = { range: '10.9.8.0/24', vmId: `vm-${n}`, taken };
        taken.add(chooseGuestAddress(request) ?? 'none');
      }
      expect(taken.size).toBe(count);
      expect([...taken].every((address) => address.startsWith('10.9.8.'))).toBe(true);
    }),
  );
});
