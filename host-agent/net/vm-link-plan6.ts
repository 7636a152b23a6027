/**
 * The IPv6 part of a VM's links and routes, beside vm-link-plan.ts, for a VM that has a gateway. Pure.
 *
 *   tap0 fe80::1, route <guest>          the guest asks for fe80::1
 *   up0  fe80::2:2, default via fe80::2:1  ══ arv<hash>
 *
 * Nobody on the link between the two namespaces is asked for a MAC: both are constants.
 */
import { GUEST_MAC } from '../protocol/guest-contract.ts';
import { GUEST_GATEWAY6, guestAddress6 } from './guest-ipv6.ts';

export const HOST_TRANSIT6 = 'fe80::2:1';
export const VM_TRANSIT6 = 'fe80::2:2';
/** Of the link's two ends: the host's, and `up0`. */
export const LINK_MAC = '02:61:72:00:00:03';
export const UP_MAC = '02:61:72:00:00:04';

/** Run in the guest: idempotent. The default route's MAC is asked for by neighbour discovery. */
export function planGuestSide6(address: string, link: string): string {
  return `addr replace ${address}/128 dev ${link} nodad\nroute replace default via ${GUEST_GATEWAY6} dev ${link}\n`;
}

/** Run in the VM's namespace, after `planVmSide`. */
export function planVmSide6(guestAddress: string, tap: string): string {
  const guest = guestAddress6(guestAddress);
  const lines = [
    `addr add ${VM_TRANSIT6}/64 dev up0 nodad`,
    `route add ::/0 via ${HOST_TRANSIT6} dev up0 onlink`,
    `neigh replace ${HOST_TRANSIT6} lladdr ${LINK_MAC} dev up0 nud permanent`,
    `addr add ${GUEST_GATEWAY6}/64 dev ${tap} nodad`,
    `route add ${guest}/128 dev ${tap}`,
    `neigh replace ${guest} lladdr ${GUEST_MAC} dev ${tap} nud permanent`,
  ];
  return lines.map((line) => `${line}\n`).join('');
}
