/**
 * What to buy, empty and give back. Pure: one look in, steps out.
 *
 *   1. machines that never joined, or are away for good with nothing on them, are given back
 *   2. emptied machines are given back, at the look after the one that chose them: never one that a VM
 *      could have been placed on meanwhile
 *   3. what lacks room gets it: emptying machines stay after all, then offers are bought
 *   4. a machine that its cloud hinted at is let go once it is empty
 *   5. a calm fleet that lacks nothing gives one machine back, or buys one that is cheaper: the next
 *      looks then find the dear one superfluous
 *
 * Invariants:
 *   - A launch never brings the fleet above `maxUsdPerHour` or `maxHosts`. What all machines cost
 *     counts, also those that are going. Nor is one made that the day has no money left for.
 *   - Only machines without VMs are terminated.
 *   - What 5 gives back is not bought again by 3 of the next look: both use the same packing.
 */
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import type { Offer } from '../../providers/provider.ts';
import { fits } from '../place.ts';
import { cheapestOffer, chooseOffer } from './choose-offer.ts';
import { findLacking, isStaying, type Lacking } from './fleet-demand.ts';
import { shapeOf } from './fleet-room.ts';
import {
  budgetOf,
  type FleetMachine,
  type FleetPolicy,
  type FleetSeen,
  type FleetStep,
} from './fleet-seen.ts';
import { planThrift } from './plan-thrift.ts';

export interface FleetPlan {
  readonly steps: readonly FleetStep[];
  /** What waits, and could be had, has no room: the fleet is not calm. */
  readonly isShort: boolean;
}

export function planFleet(seen: FleetSeen, policy: FleetPolicy, nowMs: number): FleetPlan {
  const ended = seen.machines.flatMap((machine) => endOf(machine, policy, nowMs));
  const gone = new Set(ended.map(({ machineId }) => machineId));
  const machines = seen.machines.filter(({ machineId }) => !gone.has(machineId));
  const waiting = withRoomSomewhere(seen);
  const lacking = findLacking({ machines, waiting, headroom: policy.headroom });
  const isShort = lacking.real.length > 0;
  const plan = (steps: readonly FleetStep[]) => ({ steps: [...ended, ...steps], isShort });
  const kept = keepSome(machines, lacking);
  if (kept !== undefined) return plan([kept]);
  // What is given back in this look is paid for until it has ended.
  const launches = planLaunches({ ...seen, lacking, policy, staying: machines.filter(isStaying) });
  if (launches.length > 0 || isShort) return plan(launches);
  const hinted = machines.find(({ state, vms }) => state === 'leaving' && vms.length === 0);
  if (hinted === undefined) return plan(planThrift({ ...seen, machines, waiting }, policy, nowMs));
  const why = 'Its cloud wants it back, and nothing is on it.';
  return plan([{ kind: 'empty', machineId: hinted.machineId, why }]);
}

/** What nobody sells and nobody has must not keep the rest from being put in order. */
function withRoomSomewhere({ waiting, offers, machines }: FleetSeen): readonly InstanceClass[] {
  const known = new Map<string, boolean>();
  return waiting.filter((size) => {
    const shape = shapeOf(size);
    const answer =
      known.get(shape) ??
      (offers.some(({ capacity }) => fits(capacity, size)) ||
        machines.some(({ capacity }) => fits(capacity, size)));
    known.set(shape, answer);
    return answer;
  });
}

type Ending = Extract<FleetStep, { readonly kind: 'terminate' }>;

function endOf(machine: FleetMachine, policy: FleetPolicy, nowMs: number): readonly Ending[] {
  const { machineId, state, vms, sinceMs } = machine;
  if (vms.length > 0) return [];
  const ageMs = nowMs - sinceMs;
  const end = (why: string): readonly Ending[] => [{ kind: 'terminate', machineId, why }];
  if (state === 'launching' && ageMs >= policy.joinLimitMs)
    return end(`It did not join within ${minutes(policy.joinLimitMs)}.`);
  if (state === 'away' && ageMs >= policy.awayLimitMs)
    return end(`Its agent is away for ${minutes(ageMs)} and nothing is on it.`);
  return state === 'emptying' ? end('It is empty and not needed.') : [];
}

/** The cheapest way to more room is not to give it away. */
function keepSome(machines: readonly FleetMachine[], lacking: Lacking): FleetStep | undefined {
  const isShort = lacking.real.length > 0 || lacking.headroom.length > 0;
  const emptying = machines.find(({ state }) => state === 'emptying');
  if (!isShort || emptying === undefined) return undefined;
  return { kind: 'keep', machineId: emptying.machineId, why: 'Its room is needed after all.' };
}

interface Buying {
  readonly offers: readonly Offer[];
  /** All that are paid for. */
  readonly machines: readonly FleetMachine[];
  readonly usdToday: number;
  readonly staying: readonly FleetMachine[];
  readonly lacking: Lacking;
  readonly policy: FleetPolicy;
}

interface Bought {
  readonly offer: Offer;
  readonly why: string;
}

function planLaunches({
  offers,
  machines,
  usdToday,
  staying,
  lacking,
  policy,
}: Buying): FleetStep[] {
  const launches: Bought[] = [];
  let budget = budgetOf({ machines, usdToday }, policy);
  let hosts = machines.length;
  const isFull = () => launches.length >= policy.maxLaunchesPerLook || hosts >= policy.maxHosts;
  const choice = () => ({ offers, budgetUsdPerHour: budget, riskCosts: policy.riskCosts });
  const launch = (offer: Offer, why: string) => {
    launches.push({ offer, why });
    budget -= offer.pricePerHourUsd;
    hosts += 1;
  };
  const buyFor = (sizes: readonly InstanceClass[], why: string) => {
    let left = sizes;
    while (left.length > 0 && !isFull()) {
      const chosen = chooseOffer(choice(), left);
      if (chosen === undefined) return;
      launch(chosen.offer, `${why}: ${left.length} × no room. ${chosen.because}`);
      left = chosen.left;
    }
  };
  buyFor(lacking.real, 'Jobs or VMs wait');
  buyFor(lacking.headroom, 'Headroom');
  while (staying.length + launches.length < policy.minHosts && !isFull()) {
    const offer = cheapestOffer(choice());
    if (offer === undefined) break;
    launch(offer, `The fleet keeps ${policy.minHosts} hosts`);
  }
  // What is left over is shared out, for those whose offer has to be replaced by a dearer one.
  const shareUsd = roundDown(Math.max(0, budget) / Math.max(1, launches.length));
  return launches.map(({ offer, why }) => {
    const maxUsdPerHour = offer.pricePerHourUsd + shareUsd;
    return { kind: 'launch', offerId: offer.id, maxUsdPerHour, why };
  });
}

function roundDown(usd: number): number {
  return Math.floor(usd * 1e6) / 1e6;
}

function minutes(ms: number): string {
  return `${Math.round(ms / 60_000)} min`;
}
