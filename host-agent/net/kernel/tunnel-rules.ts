/**
 * What the kernel's backend has in nft about tunnel packets: who may send them, and how many went.
 * Pure. One table per machine, the same words on hosts and gateways:
 *
 *   set `inward`    source . VNI . guest's address in the inner packet   may come in; others are dropped
 *   set `outward`   destination . VNI . guest's address                  counted
 *   set `onward`    the same, of packets that a host sends after a guest that has left; counted
 *
 * The guest is the inner source on a gateway's way in and the inner destination on a host's, and the
 * other way round on the way out. Each element counts its packets. Sets outlive the agent; loading
 * the table again keeps them.
 *
 * nft sees neither VNI nor inner packet by name, so they are read at their places behind the UDP
 * header: 8 bytes UDP, 8 VXLAN (RFC 7348, 5), 14 Ethernet, then IPv4 without regard to options, or
 * IPv6, of which a guest's address ends with its IPv4 address: both are one element.
 */
import { z } from 'zod';
import { fromInteger, toInteger } from '../../protocol/ipv4-number.ts';
import { GUEST_PREFIX_BITS6 } from '../guest-ipv6.ts';
import type { VmSeat } from '../switch-backend.ts';
import { TUNNEL_LINK, TUNNEL_PORT } from '../tunnel.ts';

const VNI = '@th,96,24';
const INNER_SOURCE = '@th,336,32';
const INNER_DESTINATION = '@th,368,32';
const INNER_IPV4 = '@th,224,16 0x0800';
const INNER_IPV6 = '@th,224,16 0x86dd';
/** Where the 96 bits before each of these are guests'. */
const INNER6 = {
  [INNER_SOURCE]: { prefix: '@th,304,96', last: '@th,400,32' },
  [INNER_DESTINATION]: { prefix: '@th,432,96', last: '@th,528,32' },
} as const;
type Inner = keyof typeof INNER6;

export const WAYS = ['inward', 'outward', 'onward'] as const;
export type Way = (typeof WAYS)[number];

/** One element: packets of this guest to or from this peer. */
export interface Passage extends VmSeat {
  readonly guestAddress: string;
}

export interface CountedPassage extends Passage {
  readonly packets: number;
}

export interface TunnelTable {
  readonly name: string;
  readonly role: 'host' | 'gateway';
  /** Further maps and chains, in nft's words. */
  readonly maps?: readonly string[];
  readonly chains?: readonly string[];
}

/** As `nft -f` reads it. What the sets hold stays. */
export function planTunnelTable({ name, role, maps = [], chains = [] }: TunnelTable): string {
  const all = [...ownChains(role), ...chains];
  const names = all.map((chain) => /chain (\S+)/.exec(chain)?.[1] ?? '');
  const emptied = names.map((chain) => `flush chain inet ${name} ${chain}\n`).join('');
  const sets = `${planSets(role)}${maps.join('')}`;
  return `table inet ${name} {\n${sets}${all.map(withoutRules).join('')}}\n${emptied}table inet ${name} {\n${all.join('')}}\n`;
}

function planSets(role: TunnelTable['role']): string {
  const [inner, outer] = innerOf(role);
  return `  set inward { typeof ip saddr . ${VNI} . ${inner}; counter; }
  set outward { typeof ip daddr . ${VNI} . ${outer}; counter; }
  set onward { typeof ip daddr . ${VNI} . ${INNER_DESTINATION}; counter; }
`;
}

function innerOf(role: TunnelTable['role']): readonly [Inner, Inner] {
  return role === 'gateway' ? [INNER_SOURCE, INNER_DESTINATION] : [INNER_DESTINATION, INNER_SOURCE];
}

/** Packets of either version with this peer, VNI and guest in the set are accepted. */
function planAccepted(peer: 'ip saddr' | 'ip daddr', inner: Inner, set: Way): string {
  const { prefix, last } = INNER6[inner];
  const start = `    udp dport ${TUNNEL_PORT}`;
  return `${start} ${INNER_IPV4} ${peer} . ${VNI} . ${inner} @${set} accept
${start} ${INNER_IPV6} ${prefix} ${GUEST_PREFIX_BITS6} ${peer} . ${VNI} . ${last} @${set} accept
`;
}

/** Tunnel packets are not tracked: what is inside them is. */
function ownChains(role: TunnelTable['role']): readonly string[] {
  const [inner, outer] = innerOf(role);
  return [
    `  chain untracked-in {
    type filter hook prerouting priority -300; policy accept;
    udp dport ${TUNNEL_PORT} notrack
  }
`,
    `  chain untracked-out {
    type filter hook output priority -300; policy accept;
    udp dport ${TUNNEL_PORT} notrack
  }
`,
    `  chain fence {
    type filter hook input priority -10; policy accept;
${planAccepted('ip saddr', inner, 'inward')}    udp dport ${TUNNEL_PORT} drop
    iifname "${TUNNEL_LINK}" drop
  }
`,
    `  chain count {
    type filter hook output priority -10; policy accept;
${planAccepted('ip daddr', outer, 'outward')}${planAccepted('ip daddr', INNER_DESTINATION, 'onward')}  }
`,
  ];
}

function withoutRules(chain: string): string {
  const [head = '', hook = ''] = chain.split('\n');
  return `${head}\n${hook}\n  }\n`;
}

export function planPassage(
  table: string,
  how: { readonly verb: 'add' | 'delete'; readonly way: Way },
  { host, vni, guestAddress }: Passage,
): string {
  const guest = `0x${toInteger(guestAddress).toString(16).padStart(8, '0')}`;
  return `${how.verb} element inet ${table} ${how.way} { ${host} . ${vni} . ${guest} }\n`;
}

export function isSamePassage(one: Passage, other: Passage): boolean {
  return (
    one.host === other.host && one.vni === other.vni && one.guestAddress === other.guestAddress
  );
}

const Element = z.object({
  elem: z.object({
    val: z.object({ concat: z.tuple([z.ipv4(), z.number(), z.number()]) }),
    counter: z.object({ packets: z.number() }),
  }),
});
const Listing = z.object({
  nftables: z.array(z.object({ set: z.object({ elem: z.array(Element).default([]) }).optional() })),
});

/** Of `nft -j list set`. Throws ZodError for what is no such listing. */
export function parsePassages(json: string): readonly CountedPassage[] {
  return Listing.parse(JSON.parse(json)).nftables.flatMap(({ set }) =>
    (set?.elem ?? []).map(({ elem: { val, counter } }) => {
      const [host, vni, guest] = val.concat;
      return { host, vni, guestAddress: fromInteger(guest), packets: counter.packets };
    }),
  );
}
