import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chooseGuestAddress } from './guest-addresses.ts';

test.each([
  ['10.201.0.0/16', [], '10.201.0.1'],
  ['10.201.0.0/16', ['10.201.0.1', '10.201.0.3'], '10.201.0.2'],
  ['10.201.0.0/30', ['10.201.0.1', '10.201.0.2'], undefined],
])('%s with %j taken gives %s', (range, taken, chosen) => {
  expect(chooseGuestAddress(range, new Set(taken))).toBe(chosen);
});

test('addresses claimed one after the other never repeat', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 253 }), (count) => {
      const taken = new Set<string>();
      for (let n = 0; n < count; n += 1)
        taken.add(chooseGuestAddress('10.9.8.0/24', taken) ?? 'none');
      expect(taken.size).toBe(count);
      expect(taken.has('none')).toBe(false);
    }),
  );
});
