/** How much of a machine VMs may use. */
import type { Capacity } from '../protocol/host-facts.ts';

/** Kept for the host itself: its kernel, the agent, page cache for the template. */
const MEMORY_RESERVE_MIB = 1024;
const MEMORY_RESERVE_SHARE = 0.1;
const DISK_RESERVE_SHARE = 0.1;

export interface Machine {
  readonly cpus: number;
  readonly memoryMib: number;
  /** Free space where the VMs' disks go. */
  readonly diskFreeGib: number;
}

/** The configured size as it is, else the machine's less a reserve; the disk is always measured. */
export function chooseCapacity(
  machine: Machine,
  configured: { readonly vcpus: number; readonly memoryMib: number } | undefined,
): Capacity {
  const diskGib = Math.max(0, Math.floor(machine.diskFreeGib * (1 - DISK_RESERVE_SHARE)));
  if (configured !== undefined) return { ...configured, diskGib };
  const reserve = Math.max(MEMORY_RESERVE_MIB, machine.memoryMib * MEMORY_RESERVE_SHARE);
  return {
    vcpus: machine.cpus,
    memoryMib: Math.max(0, Math.floor(machine.memoryMib - reserve)),
    diskGib,
  };
}
