/**
 * WireGuard under the tunnel, as text for `wg`, `ip` and `nft`. Pure.
 *
 * A peer's one allowed address is its own: what WireGuard lets in under that address was sealed with
 * that peer's key. So the source host that the switch's fence compares is authenticated.
 */
import { createHash } from 'node:crypto';
import type { UnderlayPeer } from '../../protocol/underlay.ts';
import { TUNNEL_PORT } from '../tunnel.ts';

/** Outer IPv4 and UDP, header and tag (wireguard.com/papers/wireguard.pdf, 5.4.6). */
export const WIREGUARD_BYTES = 60;
/** Below what a network's address translation and firewalls forget. */
const KEEP_ALIVE_SECONDS = 25;

/** 15 characters, and the host's own: simulated hosts share the folder of wireguard-go's sockets. */
export function wireguardLink(tag: string): string {
  return `arw${createHash('sha256').update(tag).digest('hex').slice(0, 12)}`;
}

/** For `wg syncconf`: peers that are not in it are taken out, the sessions of the others stay. */
export function planConfiguration(wanted: {
  readonly privateKey: string;
  readonly port: number;
  readonly peers: readonly UnderlayPeer[];
}): string {
  const { privateKey, port, peers } = wanted;
  const sections = peers.map(
    ({ publicKey, endpoint, address, keepAlive }) => `
[Peer]
PublicKey = ${publicKey}
AllowedIPs = ${address}/32
Endpoint = ${endpoint}:${port}
PersistentKeepalive = ${keepAlive ? KEEP_ALIVE_SECONDS : 'off'}
`,
  );
  return `[Interface]
PrivateKey = ${privateKey}
ListenPort = ${port}
${sections.join('')}`;
}

/** Lines for `ip -batch -`, which change nothing where they hold already. */
export function planAddress(wanted: {
  readonly link: string;
  readonly address: string;
  readonly range: string;
  readonly mtu: number;
}): string {
  const { link, address, range, mtu } = wanted;
  return `link set ${link} mtu ${mtu} up
addr replace ${address}/32 dev ${link}
route replace ${range} dev ${link} src ${address}
`;
}

/**
 * Tunnel packets, and addresses of the range, come in and go out by this link only: a packet with a
 * forged source on another one is dropped, and nothing leaves in clear while the link is away.
 */
export function planLinkGuard({ fleet, link, range }: LinkGuard): string {
  const table = tableName(fleet);
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
  chain in {
    type filter hook input priority -10; policy accept;
    iifname { "lo", "${link}" } accept
    udp dport ${TUNNEL_PORT} drop
    ip saddr ${range} drop
  }
  chain out {
    type filter hook output priority -10; policy accept;
    oifname { "lo", "${link}" } accept
    udp dport ${TUNNEL_PORT} drop
    ip daddr ${range} drop
  }
  chain through {
    type filter hook forward priority -10; policy accept;
    ip daddr ${range} drop
    ip saddr ${range} drop
  }
}
`;
}

interface LinkGuard {
  readonly fleet: string;
  readonly link: string;
  readonly range: string;
}

export function planNoLinkGuard(fleet: string): string {
  const table = tableName(fleet);
  return `table inet ${table}\ndelete table inet ${table}\n`;
}

function tableName(fleet: string): string {
  return `ar-${fleet}-underlay`;
}
