/**
 * Which ports of the public address a VM's flows come from. Pure. Slices of two VMs may be the same
 * ports: a flow owns its port towards one peer only (bpf/nat.h), so that a shared slice costs a
 * gateway without memory some certainty, and nobody a connection. All lie below what Linux hands out
 * by itself (net.ipv4.ip_local_port_range, 32768 and more).
 */
export const SLICE_PORTS = { first: 12_288, last: 32_767 } as const;
const SLICE_SIZE = 2_048;
const SLICES = Math.floor((SLICE_PORTS.last + 1 - SLICE_PORTS.first) / SLICE_SIZE);

export function sliceOf(number: number): {
  readonly firstPort: number;
  readonly portCount: number;
} {
  return { firstPort: SLICE_PORTS.first + (number % SLICES) * SLICE_SIZE, portCount: SLICE_SIZE };
}
