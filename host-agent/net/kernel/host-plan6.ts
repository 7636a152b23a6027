/**
 * The kernel's backend on a host and IPv6, beside host-plan.ts: the same rules and routes for the
 * guest's other address. Lines that may fail, where the kernel has no IPv6. Pure.
 */
import { guestAddress6 } from '../guest-ipv6.ts';
import type { HostVm, VmSeat } from '../switch-backend.ts';
import { planPeer6, viaTunnel6 } from '../tunnel6.ts';
import { UP_MAC, VM_TRANSIT6 } from '../vm-link-plan6.ts';
import { vmNumber } from '../vni.ts';
import { LAST_METRIC, RULE_PREFERENCE, tableOf } from './host-plan.ts';

export function planHostVm6(vm: HostVm): string {
  const { guestAddress, link } = vm;
  const table = tableOf(vmNumber(guestAddress));
  return lines([
    `rule add pref ${RULE_PREFERENCE} iif ${link} lookup ${table}`,
    `route replace blackhole ::/0 metric ${LAST_METRIC} table ${table}`,
    ...wayOut(vm),
    `neigh replace ${VM_TRANSIT6} lladdr ${UP_MAC} dev ${link} nud permanent`,
    `route replace ${guestAddress6(guestAddress)}/128 via ${VM_TRANSIT6} dev ${link} onlink`,
  ]);
}

/** To its gateway of now. */
export function planTurn6(vm: HostVm): string {
  return lines(wayOut(vm));
}

export function planForward6({ guestAddress }: HostVm, next: VmSeat): string {
  return lines([
    planPeer6(next.host),
    `route replace ${guestAddress6(guestAddress)}/128 ${viaTunnel6(next)}`,
  ]);
}

export function planHostVmGone6(guestAddress: string): string {
  const table = tableOf(vmNumber(guestAddress));
  return lines([
    `route del ${guestAddress6(guestAddress)}/128`,
    `rule del pref ${RULE_PREFERENCE} lookup ${table}`,
    `route flush table ${table}`,
  ]);
}

function wayOut({ guestAddress, gateway, vni }: HostVm): readonly string[] {
  const table = tableOf(vmNumber(guestAddress));
  return [
    planPeer6(gateway),
    `route replace ::/0 ${viaTunnel6({ host: gateway, vni })} table ${table}`,
  ];
}

function lines(commands: readonly string[]): string {
  return `${commands.join('\n')}\n`;
}
