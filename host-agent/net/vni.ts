/**
 * A tunnel packet's 24-bit VNI says whose it is and in which epoch of the VM's token its host sent
 * it, so that what a host sent before an earlier move is told from what it sends now. Sixteen moves
 * are far longer than a packet lives. Pure.
 */
import { toInteger } from '../protocol/ipv4-number.ts';

const EPOCH_BITS = 4;
const EPOCHS = 2 ** EPOCH_BITS;
const NUMBERS = 2 ** (24 - EPOCH_BITS);

export function vniOf({ number, epoch }: { readonly number: number; readonly epoch: number }) {
  return number * EPOCHS + (epoch % EPOCHS);
}

export function numberOf(vni: number): number {
  return Math.floor(vni / EPOCHS);
}

/** A VM's number: what its address has below the fleet's range, which is no larger than a /12. */
export function vmNumber(guestAddress: string): number {
  return toInteger(guestAddress) % NUMBERS;
}
