/**
 * The host's own part of the guests' network: one nft table, `ar-<fleet>-host`, in the namespace
 * that the agent runs in (on a static host: the machine's own). It keeps guests away from every
 * address of the host and from each other, whatever addresses the host gets later, lets only replies
 * in, and masquerades what leaves. VM links are those named `arv*`. See guest-policy.ts. What goes
 * through the tunnel to a gateway is let through both ways, and not masqueraded here. IPv6 goes nowhere else.
 */
import { GUEST_PREFIX6 } from './guest-ipv6.ts';
import { TUNNEL_LINK } from './tunnel.ts';

/** All links to VMs start with it, so that one rule covers VMs that come later. */
export const VM_LINK_PREFIX = 'arv';

export interface HostGuard {
  readonly fleet: string;
  /** The range that this host gives guest addresses from, CIDR. */
  readonly guestRange: string;
}

export function hostTableName(fleet: string): string {
  return `ar-${fleet}-host`;
}

/** The host's table, as `nft -f` reads it; replaces what was there, atomically. */
export function planHostGuard({ fleet, guestRange }: HostGuard): string {
  const table = `table inet ${hostTableName(fleet)}`;
  const guest = `"${VM_LINK_PREFIX}*"`;
  return `${table}
delete ${table}
${table} {
  chain input {
    type filter hook input priority -5; policy accept;
    iifname ${guest} drop
  }
  chain output {
    type filter hook output priority -5; policy accept;
    oifname ${guest} icmp type destination-unreachable icmp code frag-needed accept
    oifname ${guest} drop
  }
  chain forward {
    type filter hook forward priority -5; policy accept;
    iifname ${guest} oifname ${guest} drop
    iifname ${guest} ip saddr != ${guestRange} drop
    iifname ${guest} ip6 saddr != ${GUEST_PREFIX6} drop
    iifname ${guest} oifname != "${TUNNEL_LINK}" meta nfproto ipv6 drop
    iifname "${TUNNEL_LINK}" accept
    oifname ${guest} ct state != { established, related } drop
  }
  chain source-nat {
    type nat hook postrouting priority 100; policy accept;
    oifname { ${guest}, "${TUNNEL_LINK}" } accept
    ip saddr ${guestRange} masquerade
  }
}
`;
}
