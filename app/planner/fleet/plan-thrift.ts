/**
 * Saving money in a calm fleet that lacks nothing, one machine at a time. Pure.
 *
 *   superfluous   its VMs and the headroom find room without it: it is emptied, then given back
 *   too dear      an offer takes all its VMs for less: that is bought, and the dear one becomes
 *                 superfluous when it has joined
 *
 * Both are weighed by the same sum, so that of the two machines the dear one goes.
 */
import type { Offer } from '../../providers/provider.ts';
import { findLacking } from './fleet-demand.ts';
import { emptyRoom, pack } from './fleet-room.ts';
import {
  budgetOf,
  type FleetMachine,
  type FleetPolicy,
  type FleetSeen,
  type FleetStep,
} from './fleet-seen.ts';
import { riskUsdPerHour, weighedUsdPerHour } from './offer-cost.ts';
import { type Weighed, weighSaving } from './weigh-saving.ts';

/** Machines that are tried in one look: each trial packs the whole fleet. */
const MAX_CANDIDATES = 8;

export function planThrift(
  seen: FleetSeen,
  policy: FleetPolicy,
  nowMs: number,
): readonly FleetStep[] {
  const isCalm = nowMs - seen.lastStirMs >= policy.calmMs;
  const isSteady = seen.machines.every(({ state }) => state === 'serving');
  if (!isCalm || !isSteady) return [];
  const step = giveBack(seen, policy) ?? replaceDear(seen, policy);
  return step === undefined ? [] : [step];
}

interface Saving {
  readonly machine: FleetMachine;
  readonly weighed: Weighed;
}

function giveBack(seen: FleetSeen, policy: FleetPolicy): FleetStep | undefined {
  if (seen.machines.length <= policy.minHosts) return undefined;
  const best = seen.machines
    .filter(canLeave)
    .map((machine) => ({ machine, weighed: weighEnd(machine, policy) }))
    .filter(({ weighed }) => weighed.isWorth)
    .sort(byNet)
    .slice(0, MAX_CANDIDATES)
    .find(({ machine }) => isSuperfluous(machine, seen, policy));
  if (best === undefined) return undefined;
  const why = `The others have room for its ${best.machine.vms.length} VMs: ${best.weighed.arithmetic}`;
  return { kind: 'empty', machineId: best.machine.machineId, why };
}

function weighEnd({ usdPerHour, vms }: FleetMachine, policy: FleetPolicy): Weighed {
  return weighSaving({ fromUsdPerHour: usdPerHour, toUsdPerHour: 0, vms }, policy);
}

function canLeave({ vms }: FleetMachine): boolean {
  return vms.every(({ movable }) => movable);
}

/** As the next look will see it, so that nothing is bought in its place. */
function isSuperfluous(
  machine: FleetMachine,
  { machines, waiting }: FleetSeen,
  { headroom }: FleetPolicy,
): boolean {
  const without = machines.map((one) =>
    one === machine ? { ...one, state: 'emptying' as const } : one,
  );
  const lacking = findLacking({ machines: without, waiting, headroom });
  return lacking.real.length === 0 && lacking.headroom.length === 0;
}

function replaceDear(seen: FleetSeen, policy: FleetPolicy): FleetStep | undefined {
  const budget = budgetOf(seen, policy);
  if (seen.machines.length >= policy.maxHosts) return undefined;
  const [best] = seen.machines
    .filter(canLeave)
    .flatMap((machine) => {
      const offer = cheapestFor(machine, seen.offers, { budgetUsdPerHour: budget, policy });
      if (offer === undefined) return [];
      const weighed = weighSaving(
        {
          fromUsdPerHour: machine.usdPerHour + riskOf(machine, seen.offers, policy),
          toUsdPerHour: steadyUsdPerHour(offer, policy),
          vms: machine.vms,
        },
        policy,
      );
      return weighed.isWorth ? [{ machine, offer, weighed }] : [];
    })
    .sort(byNet);
  if (best === undefined) return undefined;
  const { machine, offer, weighed } = best;
  const why = `Cheaper than ${machine.machineId} (${machine.offerId}): ${weighed.arithmetic}`;
  return { kind: 'launch', offerId: offer.id, maxUsdPerHour: offer.pricePerHourUsd, why };
}

/** Prices that swing chase nobody: what was dear within the hour counts as dear. */
function steadyUsdPerHour(offer: Offer, { riskCosts }: FleetPolicy): number {
  const { pricePerHourUsd, highUsdPerHour = pricePerHourUsd } = offer;
  const highest = Math.max(pricePerHourUsd, highUsdPerHour);
  return weighedUsdPerHour({ ...offer, pricePerHourUsd: highest }, riskCosts);
}

/** Weighed as when it was chosen, so that what is calm and a little dearer stays. */
function riskOf(
  { offerId }: FleetMachine,
  offers: readonly Offer[],
  { riskCosts }: FleetPolicy,
): number {
  const own = offers.find(({ id }) => id === offerId);
  return own === undefined ? 0 : riskUsdPerHour(own, riskCosts);
}

/** As large as what it replaces: else the headroom would be bought anew. */
function cheapestFor(
  { capacity, vms }: FleetMachine,
  offers: readonly Offer[],
  limits: { readonly budgetUsdPerHour: number; readonly policy: FleetPolicy },
): Offer | undefined {
  const { budgetUsdPerHour, policy } = limits;
  const weigh = (offer: Offer) => steadyUsdPerHour(offer, policy);
  return offers
    .filter((offer) => {
      const room = emptyRoom(offer.id, offer.capacity);
      const sizes = vms.map((vm) => vm.class);
      return (
        offer.pricePerHourUsd <= budgetUsdPerHour &&
        offer.capacity.vcpus >= capacity.vcpus &&
        offer.capacity.memoryMib >= capacity.memoryMib &&
        pack([room], sizes).left.length === 0
      );
    })
    .toSorted((a, b) => weigh(a) - weigh(b) || (a.id < b.id ? -1 : 1))[0];
}

function byNet(a: Saving, b: Saving): number {
  const net = b.weighed.netUsd - a.weighed.netUsd;
  return net || (a.machine.machineId < b.machine.machineId ? -1 : 1);
}
