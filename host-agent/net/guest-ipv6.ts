/**
 * Guests' IPv6 addresses, and what they are outside. Pure.
 *
 *   guest fd61:7200::<its IPv4 address>  ══▶ gateway ─ <operator's /64>:<w>:0:<its IPv4 address> ─▶ outside
 *
 * A guest keeps its address, whichever gateway has it; the gateway exchanges the first 96 bits
 * (RFC 6296). The group `w` makes their ones' complement sum that of the guests' prefix, so that no
 * checksum changes. By RFC 6724 a guest with such an address speaks IPv4 to whoever has both.
 */
import { fromGroups, toGroups } from '../protocol/ipv6-groups.ts';

const PREFIX = 'fd61:7200::';
export const GUEST_PREFIX6 = `${PREFIX}/96`;
/** Every guest's default route. */
export const GUEST_GATEWAY6 = 'fe80::1';

const PREFIX_GROUPS = toGroups(PREFIX).slice(0, 6);
/** The same 96 bits as one number, in nft's words. */
export const GUEST_PREFIX_BITS6 = `0x${PREFIX_GROUPS.map((group) => group.toString(16).padStart(4, '0')).join('')}`;
const ALL_ONES = 0xffff;

export function guestAddress6(guestAddress: string): string {
  return fromGroups(toGroups(`${PREFIX}${guestAddress}`));
}

/** The first six groups of guests' addresses as the outside sees them, under the operator's /64. */
export function publicGroups(prefix64: string): readonly number[] {
  const given = toGroups(prefix64.replace(/\/.*$/, '')).slice(0, 4);
  const missing = (sum(PREFIX_GROUPS) - sum(given)) % ALL_ONES;
  return [...given, missing < 0 ? missing + ALL_ONES : missing, 0];
}

/** The same, as a prefix of 96 bits. */
export function publicPrefix(prefix64: string): string {
  return `${fromGroups([...publicGroups(prefix64), 0, 0])}/96`;
}

function sum(groups: readonly number[]): number {
  return groups.reduce((total, group) => total + group, 0);
}
