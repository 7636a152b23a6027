/**
 * The kernel's backend on a gateway and guests' IPv6, as nft reads it. Pure. Connection tracking
 * exchanges the prefix, and so lets in what belongs to flows that guests began, errors too; the public
 * addresses are those that bpf/nat6.h makes.
 */
import { GUEST_PREFIX6, publicPrefix } from '../guest-ipv6.ts';
import { TUNNEL_LINK } from '../tunnel.ts';

/** Rules about what guests send, before the replies' one. */
export function planForward6(prefix64: string | undefined): string {
  const guest = `    iifname "${TUNNEL_LINK}" meta nfproto ipv6`;
  if (prefix64 === undefined) return `${guest} drop\n`;
  return `    iifname "${TUNNEL_LINK}" ip6 saddr != ${GUEST_PREFIX6} drop
    iifname "${TUNNEL_LINK}" ip6 daddr ${prefix64} drop
${guest} meta l4proto != { tcp, udp, ipv6-icmp } drop
${guest} ct state { invalid, untracked } drop
`;
}

export function planSourceNat6(prefix64: string | undefined): string {
  if (prefix64 === undefined) return '';
  const map = `{ ${GUEST_PREFIX6} : ${publicPrefix(prefix64)} }`;
  return `    ip6 saddr ${GUEST_PREFIX6} oifname != "${TUNNEL_LINK}" snat ip6 prefix to ip6 saddr map ${map}
`;
}
