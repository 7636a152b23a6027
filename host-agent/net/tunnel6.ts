/**
 * The tunnel's part of IPv6, beside tunnel.ts: routes lead by a link-local address that is made of
 * the peer's underlay address, whose permanent neighbour entry is `planPeer`'s. The tunnel itself is
 * the same. Pure.
 */
import type { VmSeat } from './switch-backend.ts';
import { inTunnel, macOf, TUNNEL_LINK } from './tunnel.ts';

/** For before the first route to the peer. */
export function planPeer6(underlay: string): string {
  return `neigh replace ${linkLocalOf(underlay)} lladdr ${macOf(underlay)} dev ${TUNNEL_LINK} nud permanent`;
}

/** The part of a route that sends what takes it to a peer, under a VNI. */
export function viaTunnel6(seat: VmSeat): string {
  return `${inTunnel(seat)} via ${linkLocalOf(seat.host)} dev ${TUNNEL_LINK} onlink`;
}

function linkLocalOf(underlay: string): string {
  return `fe80::${underlay}`;
}
