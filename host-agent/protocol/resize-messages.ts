/**
 * A running VM gets another size, on its host. Disk and everything else stay. A request is taken or
 * refused at once, and may be repeated; the VM's report says what became of it, and its class then.
 */
import { z } from 'zod';
import { VmId } from './ids.ts';

export const VmSize = z.object({
  vcpus: z.int().min(1).max(256),
  /** Memory that was plugged stays until the VM ends: a smaller figure changes nothing. */
  memoryMib: z
    .int()
    .min(256)
    .max(4 * 1024 * 1024),
});
export type VmSize = Readonly<z.infer<typeof VmSize>>;

export const ResizeVm = z.object({ kind: z.literal('resize-vm'), vmId: VmId, size: VmSize });
export type ResizeVm = Readonly<z.infer<typeof ResizeVm>>;

/** Of the last request that was taken here, until it is done. */
export const ResizeWord = z.object({
  size: VmSize,
  /** Null: it is under way. Otherwise the VM runs on with what it has by now: the reason. */
  failed: z.string().max(500).nullable(),
});
export type ResizeWord = Readonly<z.infer<typeof ResizeWord>>;
