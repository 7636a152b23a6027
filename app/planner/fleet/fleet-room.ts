/** Whether VMs find room on hosts: first fit, the largest first. Pure, and the same for the same sets. */
import type { Capacity } from '../../../host-agent/protocol/host-facts.ts';
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import { fits, subtract } from '../place.ts';
import type { FleetMachine } from './fleet-seen.ts';

export interface FleetRoom {
  readonly machineId: string;
  readonly free: Capacity;
  /** What is on it. */
  readonly holds: readonly InstanceClass[];
}

export interface Packed {
  readonly rooms: readonly FleetRoom[];
  readonly left: readonly InstanceClass[];
}

/** Of machines in the order of their ids: what their VMs leave. */
export function roomsOf(machines: readonly FleetMachine[]): readonly FleetRoom[] {
  return machines
    .map(({ machineId, capacity, vms }) => {
      const holds = vms.map((vm) => vm.class);
      return { machineId, free: holds.reduce(subtract, capacity), holds };
    })
    .sort((a, b) => (a.machineId < b.machineId ? -1 : 1));
}

/** An empty machine of this size. */
export function emptyRoom(machineId: string, free: Capacity): FleetRoom {
  return { machineId, free, holds: [] };
}

export function pack(rooms: readonly FleetRoom[], sizes: readonly InstanceClass[]): Packed {
  const packed = [...rooms];
  const left: InstanceClass[] = [];
  const full = new Set<string>();
  for (const size of sizes.toSorted(largestFirst)) {
    const shape = `${size.vcpus}/${size.memoryMib}/${size.diskGib}`;
    const at = full.has(shape) ? -1 : packed.findIndex(({ free }) => fits(free, size));
    const room = packed[at];
    if (room === undefined) {
      full.add(shape);
      left.push(size);
    } else {
      const holds = [...room.holds, size];
      packed[at] = { ...room, free: subtract(room.free, size), holds };
    }
  }
  return { rooms: packed, left };
}

export function largestFirst(a: InstanceClass, b: InstanceClass): number {
  return b.vcpus - a.vcpus || b.memoryMib - a.memoryMib || b.diskGib - a.diskGib;
}

export function vcpusOf(sizes: readonly InstanceClass[]): number {
  return sizes.reduce((sum, { vcpus }) => sum + vcpus, 0);
}
