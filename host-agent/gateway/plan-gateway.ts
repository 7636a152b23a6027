/**
 * What a gateway is to have in its kernel, from the control plane's picture and what it has. Pure.
 *
 *   at home        seat = home
 *   moves          both seats pass; packets go where the last flip sent them, home at first
 *   in the store   no seat: packets are dropped
 *   unknown        as it is
 */
import { timingSafeEqual } from 'node:crypto';
import type { GatewayVm, VmSeat } from '../net/switch-backend.ts';
import { vmNumber, vniOf } from '../net/vni.ts';
import { type Refused, refused } from '../protocol/errors.ts';
import type { Flip, GatewayVmSpec } from '../protocol/gateway-messages.ts';
import type { HostId, VmId } from '../protocol/ids.ts';

/** By number. Of two VMs with one number the first has it; the others are refused. */
export function indexVms(vms: readonly GatewayVmSpec[]): {
  readonly byNumber: ReadonlyMap<number, GatewayVmSpec>;
  readonly refused: readonly { readonly vmId: VmId; readonly why: string }[];
} {
  const byNumber = new Map<number, GatewayVmSpec>();
  const clashes: { vmId: VmId; why: string }[] = [];
  for (const vm of vms) {
    const number = vmNumber(vm.guestAddress);
    const other = byNumber.get(number);
    if (other === undefined) byNumber.set(number, vm);
    else clashes.push({ vmId: vm.vmId, why: `Its address ${vm.guestAddress} is ${other.vmId}'s.` });
  }
  return { byNumber, refused: clashes };
}

/** Undefined: what it has is what it is to have. */
export function planVm(vm: GatewayVmSpec, held: GatewayVm | undefined): GatewayVm | undefined {
  if (vm.home === 'unknown') return undefined;
  const wanted = wantedVm(vm, held);
  return held !== undefined && isSame(wanted, held) ? undefined : wanted;
}

function wantedVm(
  { guestAddress, home, move, ports }: GatewayVmSpec,
  held: GatewayVm | undefined,
): GatewayVm {
  const number = vmNumber(guestAddress);
  const [here, there] = [seatOf(number, home), seatOf(number, move?.target)];
  const vm = { number, guestAddress, ...(ports && ports.length > 0 && { ports }) };
  if (there === undefined || here === undefined) return { ...vm, seat: here ?? there };
  const isFlipped = held?.seat !== undefined && isSameSeat(held.seat, there);
  return isFlipped
    ? { ...vm, seat: there, previous: here }
    : { ...vm, seat: here, previous: there };
}

/** Where the flip sends the VM's packets. `asking`: whose certificate the caller showed. */
export function judgeFlip(
  vm: GatewayVmSpec | undefined,
  { flip, asking }: { readonly flip: Flip; readonly asking: HostId },
): Refused | { readonly kind: 'flip'; readonly number: number; readonly to: VmSeat } {
  const move = vm?.move;
  if (vm === undefined || vm.vmId !== flip.vmId || move?.migrationId !== flip.migrationId)
    return refused('The control plane has announced no such move here.');
  if (move.source !== asking || move.proof === null || !isSameText(move.proof, flip.proof))
    return refused('This host may not flip this VM.');
  const number = vmNumber(vm.guestAddress);
  const to = seatOf(number, flip.to === 'target' ? move.target : vm.home);
  return to === undefined ? refused('The VM is nowhere.') : { kind: 'flip', number, to };
}

function seatOf(number: number, seat: GatewayVmSpec['home'] | undefined): VmSeat | undefined {
  return typeof seat !== 'object'
    ? undefined
    : { host: seat.host, vni: vniOf({ number, epoch: seat.epoch }) };
}

function isSame(one: GatewayVm, other: GatewayVm): boolean {
  return (
    one.guestAddress === other.guestAddress &&
    isSameSeat(one.seat, other.seat) &&
    isSameSeat(one.previous, other.previous) &&
    portsOf(one) === portsOf(other)
  );
}

/** In no order. */
function portsOf({ ports = [] }: GatewayVm): string {
  const each = ports.map((one) => `${one.protocol} ${one.publicPort} ${one.guestPort}`);
  return each.toSorted().join();
}

function isSameSeat(one: VmSeat | undefined, other: VmSeat | undefined): boolean {
  return one?.host === other?.host && one?.vni === other?.vni;
}

function isSameText(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
