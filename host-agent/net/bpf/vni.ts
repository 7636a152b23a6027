/**
 * A tunnel packet's 24-bit VNI says whose it is and in which epoch of the VM's token its host sent
 * it: a host that gets a VM back does not get what it sent before let through. Sixteen moves are
 * far longer than a packet lives. Also in bpf/abi.h. Pure.
 */
export const VNI_EPOCH_BITS = 4;
const EPOCHS = 2 ** VNI_EPOCH_BITS;
/** VM numbers are below this, and not 0. */
export const VM_NUMBERS = 2 ** (24 - VNI_EPOCH_BITS);

export function vniOf({ number, epoch }: { readonly number: number; readonly epoch: number }) {
  return number * EPOCHS + (epoch % EPOCHS);
}

export function numberOf(vni: number): number {
  return Math.floor(vni / EPOCHS);
}
