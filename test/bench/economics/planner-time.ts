/** How long one look of the buyer's planner takes for a very large fleet. */
import {
  DEFAULT_FLEET_POLICY,
  type FleetMachine,
  type FleetSeen,
} from '../../../app/planner/fleet/fleet-seen.ts';
import { planFleet } from '../../../app/planner/fleet/plan-fleet.ts';
import { summarize } from '../statistics.ts';

export const PLANNER_HOSTS = 10_000;
const LOOKS = 15;
const OFFERS = 1_000;
const CLASS = { vcpus: 2, memoryMib: 4096, diskGib: 20, arch: 'x64' } as const;
const VM = { class: CLASS, bytesToMove: 1e9, movable: true };
const POLICY = { ...DEFAULT_FLEET_POLICY, maxHosts: 2 * PLANNER_HOSTS, maxUsdPerHour: 1e6 };
const NOW_MS = 1e9;

/** The median of the slowest of: all full and half as many jobs waiting, half full, nearly empty. */
export function measureFleetPlanner(): number {
  const fleets = [makeFleet(4, PLANNER_HOSTS / 2), makeFleet(2, 0), makeFleet(1, 0)];
  return Math.max(...fleets.map(measure));
}

function measure(seen: FleetSeen): number {
  const times = Array.from({ length: LOOKS }, () => {
    const startMs = performance.now();
    planFleet(seen, POLICY, NOW_MS);
    return performance.now() - startMs;
  });
  return summarize(times).p50;
}

function makeFleet(vmsPerHost: number, jobsWaiting: number): FleetSeen {
  const machines = Array.from({ length: PLANNER_HOSTS }, (_, n): FleetMachine => {
    const capacity = { vcpus: 8, memoryMib: 32_768, diskGib: 400 };
    const machineId = `m${String(n).padStart(6, '0')}`;
    const vms = new Array(vmsPerHost).fill(VM);
    return {
      machineId,
      offerId: 'o1',
      usdPerHour: 0.2,
      capacity,
      state: 'serving',
      vms,
      sinceMs: 0,
    };
  });
  const offers = Array.from({ length: OFFERS }, (_, n) => {
    const vcpus = 4 * (1 + (n % 16));
    const capacity = { vcpus, memoryMib: vcpus * 4096, diskGib: 400 };
    return { id: `o${n}`, capacity, spot: true, pricePerHourUsd: 0.05 * vcpus, place: 'a' };
  });
  return {
    offers,
    machines,
    waiting: new Array(jobsWaiting).fill(CLASS),
    lastStirMs: 0,
    usdToday: 0,
  };
}
