/**
 * What guests of one policy may reach by IPv6, as entries of a map in which the longest prefix
 * decides: guard-plan.ts says why that is the answer of the ordered rules. Pure.
 */
import { toGroups } from '../../protocol/ipv6-groups.ts';
import { isPrefix6, NEVER6, PRIVATE6, WORLD6 } from '../guest-policy6.ts';
import type { GuardPolicy } from './guard-plan.ts';

const ADDRESS_BITS = 128;

export interface GuardPrefix6 {
  readonly address: string;
  readonly bits: number;
  readonly pass: boolean;
}

interface Range {
  readonly address: string;
  readonly bits: number;
  /** The prefix alone, as a number. */
  readonly prefix: bigint;
}

/** IPv4 prefixes of the policy are passed over; all prefixes begin where they say, as CIDR does. */
export function planGuardPrefixes6({
  never,
  allow,
}: Pick<GuardPolicy, 'never' | 'allow'>): readonly GuardPrefix6[] {
  const closed = [...NEVER6, ...never.filter(isPrefix6)].map(parseRange);
  const allowed = allow.filter(isPrefix6).map(parseRange);
  const [rest, unlessAllowed, world] = ['::/0', PRIVATE6, WORLD6].map(parseRange);
  const all = [rest, unlessAllowed, world, ...closed, ...allowed].filter(
    (one) => one !== undefined,
  );
  const isIn = (ranges: readonly (Range | undefined)[], inner: Range) =>
    ranges.some((range) => range !== undefined && contains(range, inner));
  return all.map((range) => ({
    address: range.address,
    bits: range.bits,
    pass:
      !isIn(closed, range) &&
      (isIn([world], range) || (isIn([unlessAllowed], range) && isIn(allowed, range))),
  }));
}

function parseRange(text: string): Range {
  const [address = '', length = String(ADDRESS_BITS)] = text.split('/');
  const bits = Number(length);
  const whole = toGroups(address).reduce((sum, group) => (sum << 16n) + BigInt(group), 0n);
  return { address, bits, prefix: whole >> BigInt(ADDRESS_BITS - bits) };
}

function contains(range: Range, inner: Range): boolean {
  return (
    range.bits <= inner.bits && inner.prefix >> BigInt(inner.bits - range.bits) === range.prefix
  );
}
