/**
 * What the fleet lacks room for. First what is real: waiting jobs, and the VMs of hosts that go away or
 * are emptied. Then the headroom: what a reclaim would make homeless.
 */
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import { type FleetRoom, largestFirst, pack, roomsOf, vcpusOf } from './fleet-room.ts';
import type { FleetMachine, Headroom } from './fleet-seen.ts';

export interface Lacking {
  /** Waits, or will have to. */
  readonly real: readonly InstanceClass[];
  readonly headroom: readonly InstanceClass[];
}

export function findLacking(given: {
  readonly machines: readonly FleetMachine[];
  readonly waiting: readonly InstanceClass[];
  readonly headroom: Headroom;
}): Lacking {
  const { machines, waiting, headroom } = given;
  const staying = machines.filter(isStaying);
  const homeless = machines.filter(isGoing).flatMap(({ vms }) => vms.map((vm) => vm.class));
  const real = pack(roomsOf(staying), [...waiting, ...homeless]);
  return { real: real.left, headroom: lackingHeadroom(real.rooms, headroom) };
}

/** It has room, or will have it soon. */
export function isStaying({ state }: FleetMachine): boolean {
  return state === 'serving' || state === 'launching';
}

function isGoing({ state }: FleetMachine): boolean {
  return state === 'leaving' || state === 'emptying';
}

/** Once everything has found its place, that of what waits included. */
function lackingHeadroom(
  rooms: readonly FleetRoom[],
  headroom: Headroom,
): readonly InstanceClass[] {
  if (headroom.kind === 'off') return [];
  if (headroom.kind === 'share') {
    const all = rooms.flatMap(({ holds }) => holds).sort(largestFirst);
    return pack(rooms, upToShare(all, headroom.share)).left;
  }
  const fullest = rooms.toSorted(fullestFirst)[0];
  if (fullest === undefined) return [];
  const others = rooms.filter(({ machineId }) => machineId !== fullest.machineId);
  return pack(others, fullest.holds).left;
}

function fullestFirst(a: FleetRoom, b: FleetRoom): number {
  return vcpusOf(b.holds) - vcpusOf(a.holds) || (a.machineId < b.machineId ? -1 : 1);
}

function upToShare(largest: readonly InstanceClass[], share: number): readonly InstanceClass[] {
  const wanted = vcpusOf(largest) * share;
  let sum = 0;
  return largest.filter(({ vcpus }) => {
    if (sum >= wanted) return false;
    sum += vcpus;
    return true;
  });
}
