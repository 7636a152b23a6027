/**
 * The tunnel device of a host or gateway: VXLAN in `external` mode, so that each route says where a
 * packet goes and under which VNI. Pure; lines for `ip -batch -`.
 *
 * A device drops what has its own MAC as source, and takes what has its own as destination. So
 * everybody's MAC is made of the underlay address, and each peer is a neighbour that never expires:
 * nothing is resolved, and no first packet is lost.
 */

import { toInteger } from '../protocol/ipv4-number.ts';
import type { VmSeat } from './switch-backend.ts';

export const TUNNEL_LINK = 'ar-vxlan';
/** IANA's VXLAN port (RFC 7348, 8). */
export const TUNNEL_PORT = 4789;
const TUNNEL_TTL = 64;
/** Nobody's: on a link without an address the kernel's reverse-path check drops stragglers, loose or not. */
const TUNNEL_ADDRESS = '169.254.2.3/32';

export interface Tunnel {
  /** This machine's address on the underlay. */
  readonly underlay: string;
  /** Of the guests' packets, in bytes. */
  readonly mtu: number;
}

/**
 * Lines that fail where they hold already, or change nothing then: a MAC that is set again, to the
 * same, makes the kernel forget all neighbours, the permanent ones too.
 */
export function planTunnel({ underlay, mtu }: Tunnel): readonly string[] {
  return [
    `link add ${TUNNEL_LINK} address ${macOf(underlay)} mtu ${mtu} type vxlan external local ${underlay} dstport ${TUNNEL_PORT}`,
    `link set ${TUNNEL_LINK} addrgenmode none`,
    `addr add ${TUNNEL_ADDRESS} dev ${TUNNEL_LINK}`,
    `link set ${TUNNEL_LINK} up`,
  ];
}

/** The peer's neighbour entry, for before the first route to it. */
export function planPeer(underlay: string): string {
  return `neigh replace ${underlay} lladdr ${macOf(underlay)} dev ${TUNNEL_LINK} nud permanent`;
}

/** The part of a route that sends what takes it to a peer, under a VNI. */
export function viaTunnel(seat: VmSeat): string {
  return `${inTunnel(seat)} via inet ${seat.host} dev ${TUNNEL_LINK} onlink`;
}

export function inTunnel({ host, vni }: VmSeat): string {
  return `encap ip id ${vni} dst ${host} ttl ${TUNNEL_TTL}`;
}

export function macOf(underlay: string): string {
  const digits = toInteger(underlay).toString(16).padStart(8, '0');
  return `02:61:${digits.match(/../g)?.join(':')}`;
}
