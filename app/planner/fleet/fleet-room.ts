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
  // Rooms only get fuller: what had no room for a shape has none for the next one of it.
  const searchedTo = new Map<string, number>();
  for (const size of sizes.toSorted(largestFirst)) {
    const shape = shapeOf(size);
    let at = searchedTo.get(shape) ?? 0;
    while (at < packed.length && !canTake(packed[at], size)) at += 1;
    searchedTo.set(shape, at);
    const room = packed[at];
    if (room === undefined) left.push(size);
    else packed[at] = put(room, size);
  }
  return { rooms: packed, left };
}

function canTake(room: FleetRoom | undefined, size: InstanceClass): boolean {
  return room !== undefined && fits(room.free, size);
}

function put({ machineId, free, holds }: FleetRoom, size: InstanceClass): FleetRoom {
  return { machineId, free: subtract(free, size), holds: [...holds, size] };
}

export function shapeOf({ vcpus, memoryMib, diskGib }: InstanceClass): string {
  return `${vcpus}/${memoryMib}/${diskGib}`;
}

export function largestFirst(a: InstanceClass, b: InstanceClass): number {
  return b.vcpus - a.vcpus || b.memoryMib - a.memoryMib || b.diskGib - a.diskGib;
}

export function vcpusOf(sizes: readonly InstanceClass[]): number {
  return sizes.reduce((sum, { vcpus }) => sum + vcpus, 0);
}
