/** The kernel's backend on a host, as nft and `ip -batch -` read it. Pure. */
import type { HostVm, VmSeat } from '../switch-backend.ts';
import { planPeer, viaTunnel } from '../tunnel.ts';
import { VM_TRANSIT } from '../vm-link-plan.ts';
import { vmNumber } from '../vni.ts';
import type { Passage, Way } from './tunnel-rules.ts';

/** Before the main table's (32766) and after the local one's (0). */
export const RULE_PREFERENCE = 6_100;
/** Routing tables of VMs: this and the VM's number. */
const FIRST_TABLE = 0x61_72_00_00;
/** After every real route. */
export const LAST_METRIC = 100_000;

/** `rule` fails where it holds already; a VM's packets take no other way than its table's, ever. */
export function planHostVm(vm: HostVm): { readonly rule: string; readonly routes: string } {
  const { guestAddress, link } = vm;
  const table = tableOf(vmNumber(guestAddress));
  return {
    rule: `rule add pref ${RULE_PREFERENCE} iif ${link} lookup ${table}\n`,
    routes: lines([
      `route replace blackhole default metric ${LAST_METRIC} table ${table}`,
      ...wayOut(vm),
      `route replace ${guestAddress}/32 via ${VM_TRANSIT} dev ${link} onlink`,
    ]),
  };
}

/** To its gateway of now. */
export function planTurn(vm: HostVm): string {
  return lines(wayOut(vm));
}

function wayOut({ guestAddress, gateway, vni }: HostVm): readonly string[] {
  const table = tableOf(vmNumber(guestAddress));
  return [
    planPeer(gateway),
    `route replace default ${viaTunnel({ host: gateway, vni })} table ${table}`,
  ];
}

export function planForward({ guestAddress }: HostVm, next: VmSeat): string {
  return lines([planPeer(next.host), `route replace ${guestAddress}/32 ${viaTunnel(next)}`]);
}

/** Lines that may fail. */
export function planHostVmGone(guestAddress: string): string {
  const table = tableOf(vmNumber(guestAddress));
  return lines([
    `route del ${guestAddress}/32`,
    `rule del pref ${RULE_PREFERENCE} lookup ${table}`,
    `route flush table ${table}`,
  ]);
}

export function hostPassages(
  vm: HostVm,
  next?: VmSeat,
): Readonly<Partial<Record<Way, readonly Passage[]>>> {
  const { guestAddress, gateway, vni, stragglersFrom } = vm;
  const own = { host: gateway, vni, guestAddress };
  const stragglers = stragglersFrom === undefined ? [] : [{ ...own, host: stragglersFrom }];
  const onward = next === undefined ? [] : [{ ...next, guestAddress }];
  return { inward: [own, ...stragglers], outward: [own], onward };
}

export function tableOf(number: number): number {
  return FIRST_TABLE + number;
}

function lines(commands: readonly string[]): string {
  return `${commands.join('\n')}\n`;
}
