/** What a job asks for. A VM is grown to its class right after its start from a template. */
import { z } from 'zod';

export const Architecture = z.enum(['x64', 'arm64']);
export type Architecture = z.infer<typeof Architecture>;

export const InstanceClass = z.object({
  vcpus: z.int().min(1).max(256),
  memoryMib: z
    .int()
    .min(256)
    .max(4 * 1024 * 1024),
  diskGib: z
    .int()
    .min(1)
    .max(16 * 1024),
  arch: Architecture,
});
export type InstanceClass = Readonly<z.infer<typeof InstanceClass>>;

/**
 * The least memory of a VM under an accelerator: its template's. Under TCG it is what most jobs ask
 * for, so that their VMs have one memory block: QEMU's TCG loses track of writes to any further one
 * (system/ram_addr.h, cpu_physical_memory_sync_dirty_bitmap, resets the wrong pages' TLB entries, or
 * fails an assertion), and a VM that cannot be tracked cannot move.
 */
export function leastMemoryMib(accelerator: 'kvm' | 'pvm' | 'tcg'): number {
  return accelerator === 'tcg' ? 4096 : 512;
}

/** The class's short name, as operators and users write it: `4cpu-16gb`. */
export function formatInstanceClass({ vcpus, memoryMib }: InstanceClass): string {
  return `${vcpus}cpu-${memoryMib / 1024}gb`;
}
