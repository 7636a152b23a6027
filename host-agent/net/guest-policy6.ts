/**
 * What a guest may reach by IPv6, beside guest-policy.ts. Pure. Only global unicast addresses are
 * open, and private ones that the operator allows. Closed whatever is allowed: where clouds have
 * their metadata services, other guests, and addresses that lead to IPv4 ones past its guard
 * (NAT64, 6to4, Teredo, mapped).
 */
import { fromGroups, toGroups } from '../protocol/ipv6-groups.ts';
import { GUEST_GATEWAY6, guestAddress6 } from './guest-ipv6.ts';

export const NEVER6 = [
  '::/8',
  '100::/64',
  '2001::/32',
  '2002::/16',
  'fd61:7200::/32',
  // Amazon, Google, Oracle, Scaleway, Linode, Alibaba.
  'fd00:ec2::/32',
  'fd20:ce::/32',
  'fd00:c1::/32',
  'fd00:42::/32',
  'fd00:a9fe:a9fe::/48',
  'fd00:100::/32',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
] as const;

/** Unless the operator allows a prefix. */
export const PRIVATE6 = 'fc00::/7';

export const WORLD6 = '2000::/3';

export function isPrefix6(prefix: string): boolean {
  return prefix.includes(':');
}

const PROTOCOLS = '{ tcp, udp, ipv6-icmp }';
/** A header that could hide the ports is none of these; a fragment's hides none. */
const NEXT_HEADERS = '{ tcp, udp, ipv6-icmp, 44 }';
const DISCOVERY_HOP_LIMIT = 255;
/** RFC 4861, 4.3: behind type, code, checksum and 32 reserved bits. */
const SOLICITED = '@th,64,128';

/** In the chain of what comes from the guest's tap. */
export function planIngress6(guest: {
  readonly guestMac: string;
  readonly guestAddress: string;
}): string {
  const own = `    ether saddr ${guest.guestMac} ip6`;
  const address = guestAddress6(guest.guestAddress);
  const gateway = `0x${bitsOf(GUEST_GATEWAY6)}`;
  // Askers are few, so that no guest fills the kernel's table of neighbours.
  const askers = `{ ${address}, ${linkLocalOf(guest.guestMac)} }`;
  return `${own} saddr ${askers} ip6 nexthdr ipv6-icmp ip6 hoplimit ${DISCOVERY_HOP_LIMIT} icmpv6 type nd-neighbor-solicit ${SOLICITED} ${gateway} accept
${own} saddr ${address} icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect } drop
${own} saddr ${address} ip6 nexthdr ${NEXT_HEADERS} accept
`;
}

export function planNever6(deny: readonly string[]): string {
  const never = [...NEVER6, ...deny.filter(isPrefix6)].join(', ');
  return `  set never6 { type ipv6_addr; flags interval; auto-merge; elements = { ${never} }; }
`;
}

/** In the chain of what is for the VM's namespace itself: the question for the default route. */
export function planInput6(): string {
  return `    iifname "tap0" icmpv6 type nd-neighbor-solicit accept
`;
}

/** In the chain of what it sends itself. */
export function planOutput6(): string {
  return `    oifname "tap0" icmpv6 type { nd-neighbor-advert, packet-too-big } accept
`;
}

/** The chain of what the guest sends to elsewhere. */
export function planOutbound6(allow: readonly string[]): string {
  const allowed = allow
    .filter(isPrefix6)
    .map((prefix) => `    ip6 daddr ${PRIVATE6} ip6 daddr ${prefix} accept\n`);
  return `  chain outbound6 {
    meta l4proto != ${PROTOCOLS} drop
    ip6 daddr @never6 drop
${allowed.join('')}    ip6 daddr ${WORLD6} accept
    drop
  }
`;
}

function bitsOf(address: string): string {
  return toGroups(address)
    .map((group) => group.toString(16).padStart(4, '0'))
    .join('');
}

/** What Linux makes of a MAC (RFC 4291, appendix A). */
function linkLocalOf(mac: string): string {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = Buffer.from(mac.replaceAll(':', ''), 'hex');
  const groups = [(a ^ 2) * 256 + b, c * 256 + 0xff, 0xfe00 + d, e * 256 + f];
  return fromGroups([0xfe80, 0, 0, 0, ...groups]);
}
