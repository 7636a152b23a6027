import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fromGroups, toGroups } from '../protocol/ipv6-groups.ts';
import { guestAddress6, publicGroups, publicPrefix } from './guest-ipv6.ts';

const group = fc.integer({ min: 0, max: 0xffff });
const groups = (n: number) => fc.array(group, { minLength: n, maxLength: n });

/** RFC 1071 by the book: carries are added where they arise. */
function onesComplementSum(words: readonly number[]): number {
  let sum = 0;
  for (const word of words) {
    sum += word;
    if (sum > 0xffff) sum = (sum & 0xffff) + 1;
  }
  return sum;
}

it('a public address has the checksum of the guest’s, up to the two zeroes', () => {
  const property = fc.property(groups(4), groups(2), (prefix, last) => {
    const inside = [...toGroups('fd61:7200::').slice(0, 6), ...last];
    const outside = [...publicGroups(`${fromGroups([...prefix, 0, 0, 0, 0])}/64`), ...last];
    expect(outside.slice(0, 4)).toEqual(prefix);
    expect(outside.every((word) => word >= 0 && word <= 0xffff)).toBe(true);
    expect(onesComplementSum(outside) % 0xffff).toBe(onesComplementSum(inside) % 0xffff);
  });
  fc.assert(property);
});

it('addresses are read and written as the URL standard does', () => {
  const property = fc.property(fc.ipV6(), (text) => {
    expect(fromGroups(toGroups(text))).toBe(new URL(`http://[${text}]`).hostname.slice(1, -1));
  });
  fc.assert(property, { examples: [['::'], ['1::'], ['::ffff:1.2.3.4'], ['1:2:3:4:5:6:7:8']] });
});

it('names a guest by its IPv4 address', () => {
  expect(guestAddress6('10.201.3.4')).toBe('fd61:7200::ac9:304');
  expect(publicPrefix('2001:db8:1::/64')).toBe('2001:db8:1:0:41a8::/96');
});
