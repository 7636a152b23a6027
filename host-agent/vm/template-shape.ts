/**
 * The shape that templates are captured with: the smallest machine, with room to grow. A template's
 * device state fits no other (FACTS), so every VM of the pool starts with exactly this one.
 */
import type { MachineShape } from '../protocol/artifact.ts';
import type { Accelerator } from '../protocol/host-facts.ts';
import { leastMemoryMib } from '../protocol/instance-class.ts';

export const MACHINE_TYPE = 'pc-q35-8.2';
export const MAX_VCPUS = 16;
/** Under TCG all of them are there from the start, each a thread: they cost every start time. */
export const MAX_TCG_VCPUS = 8;
export const MAX_MEMORY_MIB = 64 * 1024;
export const MEMORY_SLOTS = 8;

export function templateShape(pool: {
  readonly accelerator: Accelerator;
  readonly cpuModel: string;
}): MachineShape {
  return {
    machineType: MACHINE_TYPE,
    accelerator: pool.accelerator,
    cpuModel: pool.cpuModel,
    vcpus: 1,
    maxVcpus: pool.accelerator === 'tcg' ? MAX_TCG_VCPUS : MAX_VCPUS,
    cpuGrowth: pool.accelerator === 'tcg' ? 'offline' : 'hot-plug',
    memoryMib: leastMemoryMib(pool.accelerator),
    maxMemoryMib: MAX_MEMORY_MIB,
    memorySlots: MEMORY_SLOTS,
  };
}
