import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fromInteger, toInteger } from '../../protocol/ipv4-number.ts';
import { type GuardPolicy, planGuardPrefixes } from './guard-plan.ts';

/** The rules in order, as nft reads them: written anew, by bits in text. */
function judge(policy: GuardPolicy, address: string) {
  const isIn = (prefixes: readonly string[]) => prefixes.some((prefix) => matches(prefix, address));
  const pass = !isIn(policy.never) && (isIn(policy.allow) || !isIn(policy.private));
  return { pass, dns: isIn(policy.dns) };
}

function bitsOf(address: string): string {
  return address
    .split('.')
    .map((part) => Number(part).toString(2).padStart(8, '0'))
    .join('');
}

function matches(prefix: string, address: string): boolean {
  const [base = '', length = '32'] = prefix.split('/');
  return bitsOf(address).startsWith(bitsOf(base).slice(0, Number(length)));
}

/** As the kernel's trie answers. */
function lookup(policy: GuardPolicy, address: string) {
  const fitting = planGuardPrefixes(policy).filter(({ address: base, bits }) =>
    matches(`${base}/${bits}`, address),
  );
  const [longest] = fitting.toSorted((a, b) => b.bits - a.bits);
  return { pass: longest?.pass, dns: longest?.dns };
}

/** Few distinct addresses, so that prefixes nest. */
const address = fc
  .tuple(
    fc.constantFrom(10, 169, 192),
    fc.constantFrom(0, 1, 254),
    fc.constantFrom(0, 9),
    fc.nat(3),
  )
  .map((parts) => parts.join('.'));
const prefix = fc
  .tuple(address, fc.constantFrom(0, 8, 12, 16, 24, 30, 31, 32))
  .map(([base, bits]) => `${base}/${bits}`);
const policies = fc.record({
  never: fc.array(prefix, { maxLength: 4 }),
  allow: fc.array(prefix, { maxLength: 4 }),
  private: fc.array(prefix, { maxLength: 4 }),
  dns: fc.array(address, { maxLength: 2 }),
});

test('the longest prefix answers as the ordered rules do', () => {
  fc.assert(
    fc.property(policies, address, (policy, wanted) => {
      expect(lookup(policy, wanted)).toEqual(judge(policy, wanted));
    }),
    { numRuns: 2_000 },
  );
});

test('no prefix is planned twice, and the world is one of them', () => {
  const planned = planGuardPrefixes({
    never: ['10.0.0.1/8'],
    allow: ['10.0.0.0/8'],
    private: ['10.0.0.0/8'],
    dns: [],
  });
  expect(planned).toEqual([
    { address: '0.0.0.0', bits: 0, pass: true, dns: false },
    { address: '10.0.0.0', bits: 8, pass: false, dns: false },
  ]);
});

test('addresses are read and written', () => {
  expect(fromInteger(toInteger('255.254.1.0'))).toBe('255.254.1.0');
});
