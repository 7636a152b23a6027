/**
 * What guests of one policy may reach, as entries of a map in which the longest prefix decides. Pure.
 *
 * The order is guest-policy.ts's: resolvers on port 53, then what is never reachable or denied, then
 * what is allowed, then private ranges, then the rest of the world. An address is judged by its
 * longest prefix here, and that one lies in exactly the ranges that the address lies in, so each
 * prefix gets the answer that the ordered rules give for itself.
 */
import { fromInteger, toInteger } from '../../protocol/ipv4-number.ts';
import { isPrefix6 } from '../guest-policy6.ts';

export interface GuardPolicy {
  /** Prefixes that no guest reaches, whatever is allowed: NEVER of guest-policy.ts, and `deny`. */
  readonly never: readonly string[];
  readonly allow: readonly string[];
  readonly private: readonly string[];
  /** Addresses of resolvers. */
  readonly dns: readonly string[];
}

export interface GuardPrefix {
  readonly address: string;
  readonly bits: number;
  readonly pass: boolean;
  readonly dns: boolean;
}

interface Prefix {
  readonly first: number;
  readonly bits: number;
}

/** IPv6 prefixes of the policy are passed over: guard6-plan.ts. */
export function planGuardPrefixes(policy: GuardPolicy): readonly GuardPrefix[] {
  const never = policy.never.filter((prefix) => !isPrefix6(prefix)).map(parsePrefix);
  const allow = policy.allow.filter((prefix) => !isPrefix6(prefix)).map(parsePrefix);
  const closed = policy.private.map(parsePrefix);
  const dns = policy.dns.map(parsePrefix);
  const all = [{ first: 0, bits: 0 }, ...never, ...allow, ...closed, ...dns];
  const distinct = new Map(all.map((prefix) => [`${prefix.first}/${prefix.bits}`, prefix]));
  return [...distinct.values()].map((prefix) => {
    const isIn = (ranges: readonly Prefix[]) => ranges.some((range) => contains(range, prefix));
    return {
      address: fromInteger(prefix.first),
      bits: prefix.bits,
      pass: !isIn(never) && (isIn(allow) || !isIn(closed)),
      dns: isIn(dns),
    };
  });
}

function parsePrefix(text: string): Prefix {
  const [dotted = '', length = '32'] = text.split('/');
  const bits = Number(length);
  const address = toInteger(dotted);
  return { first: address - (address % 2 ** (32 - bits)), bits };
}

function contains(range: Prefix, prefix: Prefix): boolean {
  const size = 2 ** (32 - range.bits);
  return range.bits <= prefix.bits && prefix.first - (prefix.first % size) === range.first;
}
