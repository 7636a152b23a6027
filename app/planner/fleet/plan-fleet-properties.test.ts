/** Fleets in a simulated cloud, look by look: what planFleet buys, empties and ends happens. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import type { Offer } from '../../providers/provider.ts';
import { emptyRoom, pack, roomsOf } from './fleet-room.ts';
import {
  DEFAULT_FLEET_POLICY,
  type FleetMachine,
  type FleetPolicy,
  type FleetStep,
  type FleetVm,
} from './fleet-seen.ts';
import { planFleet } from './plan-fleet.ts';

const LOOK_MS = 60_000;
const LOOKS = 120;

interface World {
  machines: FleetMachine[];
  waiting: InstanceClass[];
  nowMs: number;
  lastStirMs: number;
  launched: number;
}

const sizes = fc.constantFrom<InstanceClass>(
  { vcpus: 2, memoryMib: 4096, diskGib: 20, arch: 'x64' },
  { vcpus: 4, memoryMib: 8192, diskGib: 20, arch: 'x64' },
  { vcpus: 8, memoryMib: 16_384, diskGib: 40, arch: 'x64' },
);
const offers = fc.uniqueArray(
  fc.record({
    id: fc.string({ minLength: 1, maxLength: 4 }),
    pricePerHourUsd: fc.double({ min: 0.01, max: 2, noNaN: true }),
    vcpus: fc.constantFrom(2, 4, 8, 16, 32),
  }),
  { selector: ({ id }) => id, minLength: 1, maxLength: 6 },
);
const policies = fc.record({
  minHosts: fc.nat(3),
  maxHosts: fc.integer({ min: 1, max: 12 }),
  maxUsdPerHour: fc.double({ min: 0.1, max: 8, noNaN: true }),
  headroom: fc.constantFrom<FleetPolicy['headroom']>(
    { kind: 'off' },
    { kind: 'one-host' },
    { kind: 'share', share: 0.25 },
  ),
});

function toOffer({
  id,
  pricePerHourUsd,
  vcpus,
}: {
  id: string;
  pricePerHourUsd: number;
  vcpus: number;
}): Offer {
  const capacity = { vcpus, memoryMib: vcpus * 4096, diskGib: 500 };
  return { id, pricePerHourUsd, capacity, spot: true, place: 'a' };
}

function apply(world: World, step: FleetStep, sold: readonly Offer[]): void {
  if (step.kind === 'launch') {
    const offer = sold.find(({ id }) => id === step.offerId);
    if (offer === undefined) throw new Error(`bought what nobody sells: ${step.offerId}`);
    expect(step.maxUsdPerHour).toBeGreaterThanOrEqual(offer.pricePerHourUsd - 1e-6);
    world.launched += 1;
    world.lastStirMs = world.nowMs;
    world.machines.push({
      machineId: `m${String(world.launched).padStart(5, '0')}`,
      offerId: offer.id,
      usdPerHour: offer.pricePerHourUsd,
      capacity: offer.capacity,
      state: 'launching',
      vms: [],
      sinceMs: world.nowMs,
    });
    return;
  }
  const at = world.machines.findIndex(({ machineId }) => machineId === step.machineId);
  const machine = world.machines[at];
  if (machine === undefined) throw new Error(`no machine ${step.machineId}`);
  if (step.kind === 'terminate') {
    expect(machine.vms).toEqual([]);
    world.machines.splice(at, 1);
  } else {
    const state = step.kind === 'empty' ? 'emptying' : 'serving';
    world.machines[at] = { ...machine, state };
  }
}

/** Launched machines join, emptied ones' VMs move, what waits is placed. */
function settle(world: World): void {
  world.nowMs += LOOK_MS;
  world.machines = world.machines.map((machine) =>
    machine.state === 'launching'
      ? { ...machine, state: 'serving', sinceMs: world.nowMs }
      : machine,
  );
  const going = world.machines.filter(({ state }) => state === 'emptying');
  const serving = world.machines.filter(({ state }) => state === 'serving');
  const homeless = going.flatMap(({ vms }) => vms.map((vm) => vm.class));
  const moved = pack(roomsOf(serving), homeless);
  expect(moved.left).toEqual([]);
  const started = pack(moved.rooms, world.waiting);
  if (started.left.length > 0) world.lastStirMs = world.nowMs;
  world.waiting = [...started.left];
  const holds = new Map(started.rooms.map((room) => [room.machineId, room.holds]));
  world.machines = world.machines.map((machine) => ({
    ...machine,
    vms: (holds.get(machine.machineId) ?? []).map(
      (size): FleetVm => ({ class: size, bytesToMove: 1e9, movable: true }),
    ),
  }));
}

it('stays below its caps, serves what money allows, and comes to rest', () => {
  fc.assert(
    fc.property(offers, policies, fc.array(sizes, { maxLength: 12 }), (given, caps, jobs) => {
      const sold = given.map(toOffer);
      const policy: FleetPolicy = { ...DEFAULT_FLEET_POLICY, ...caps };
      const world: World = {
        machines: [],
        waiting: jobs,
        nowMs: 1e9,
        lastStirMs: 1e9,
        launched: 0,
      };
      for (let look = 0; look < LOOKS; look += 1) {
        const { steps } = planFleet({ ...world, offers: sold, usdToday: 0 }, policy, world.nowMs);
        for (const step of steps) apply(world, step, sold);
        const spent = world.machines.reduce((sum, { usdPerHour }) => sum + usdPerHour, 0);
        expect(spent).toBeLessThanOrEqual(policy.maxUsdPerHour + 1e-9);
        expect(world.machines.length).toBeLessThanOrEqual(policy.maxHosts);
        settle(world);
        if (look > LOOKS - 10) expect(steps).toEqual([]);
      }
      if (world.waiting.length > 0) expect(isBroke(world, sold, policy)).toBe(true);
    }),
    { numRuns: 150 },
  );
});

/** Something waits only when no offer takes it, or money or the number of hosts does not allow it. */
function isBroke(
  { machines, waiting }: World,
  sold: readonly Offer[],
  policy: FleetPolicy,
): boolean {
  const budget =
    policy.maxUsdPerHour - machines.reduce((sum, { usdPerHour }) => sum + usdPerHour, 0);
  if (machines.length >= policy.maxHosts) return true;
  return sold.every(
    ({ id, capacity, pricePerHourUsd }) =>
      pricePerHourUsd > budget ||
      pack([emptyRoom(id, capacity)], waiting).left.length === waiting.length,
  );
}
