import { BlockList } from 'node:net';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { NEVER6, PRIVATE6, WORLD6 } from '../guest-policy6.ts';
import { type GuardPrefix6, planGuardPrefixes6 } from './guard6-plan.ts';

function listOf(prefixes: readonly string[]): BlockList {
  const list = new BlockList();
  for (const prefix of prefixes) {
    const [address = '', bits = ''] = prefix.split('/');
    list.addSubnet(address, Number(bits), 'ipv6');
  }
  return list;
}

const isIn = (prefixes: readonly string[], address: string) =>
  listOf(prefixes).check(address, 'ipv6');

/** As the kernel's map does. */
function judge(plan: readonly GuardPrefix6[], address: string): boolean {
  const matching = plan.filter(({ address: first, bits }) => isIn([`${first}/${bits}`], address));
  return matching.toSorted((one, other) => other.bits - one.bits)[0]?.pass ?? false;
}

const never = ['2600:1f00::/24', '10.0.0.0/8'];
const allow = ['fd12:3456::/32', 'fd00::/16', 'fe80::/10', '2600:1f00:1::/48', '10.1.0.0/16'];
const plan = planGuardPrefixes6({ never, allow });

it.each(['2001:db8::1', '2606:4700::1111', 'fd12:3456::9', 'fd00:1::1'])('%s is reached', (to) => {
  expect(judge(plan, to)).toBe(true);
});

it.each([
  '::',
  '::1',
  '::ffff:169.254.169.254',
  '64:ff9b::169.254.169.254',
  '2002:a9fe:a9fe::1',
  '2001:0:4136:e378::1',
  'fd00:ec2::254',
  'fd20:ce::254',
  'fd00:c1::a9fe:a9fe',
  'fd00:42::42',
  'fd61:7200::10.201.3.5',
  'fd99::1',
  'fe80::1',
  'fe80::a9fe:a9fe',
  'ff02::1',
  '4000::1',
  '2600:1f00:1::1',
])('%s is not reached', (to) => {
  expect(judge(plan, to)).toBe(false);
});

it('the longest prefix decides as the ordered rules do', () => {
  const seeds = [...NEVER6, PRIVATE6, WORLD6, ...never.slice(0, 1), ...allow.slice(0, 4)];
  const near = fc
    .tuple(fc.constantFrom(...seeds), fc.ipV6())
    .map(([prefix, tail]) => `${prefix.split('::')[0]}:${tail.split(':').slice(-4).join(':')}`);
  const property = fc.property(fc.oneof(fc.ipV6(), near), (address) => {
    fc.pre(URL.canParse(`http://[${address}]`) && !address.includes('.'));
    const closed = isIn([...NEVER6, ...never.slice(0, 1)], address);
    const opened = isIn([PRIVATE6], address) && isIn(allow.slice(0, 4), address);
    expect(judge(plan, address)).toBe(!closed && (isIn([WORLD6], address) || opened));
  });
  fc.assert(property);
});
