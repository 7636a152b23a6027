/**
 * What the buyer of hosts sees: offers, the machines that it has, what runs on them, and what waits.
 * Amounts of money are US dollars per hour, as clouds name their prices.
 */
import type { Capacity } from '../../../host-agent/protocol/host-facts.ts';
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import type { Offer } from '../../providers/provider.ts';
import type { RiskCosts } from './offer-cost.ts';

export interface FleetVm {
  readonly class: InstanceClass;
  /** What a move would send, of memory and disk. */
  readonly bytesToMove: number;
  /** False: it cannot leave its host alive now, or its job holds it there. */
  readonly movable: boolean;
}

/**
 *   launching ──joined──→ serving ──notice or hint──→ leaving
 *       │                  │  ↑ └──chosen──→ emptying ──empty──→ (ended)
 *       └─too late→(ended) ↓  │
 *                         away ──too long, nothing on it──→ (ended)
 */
export type MachineState = 'launching' | 'serving' | 'emptying' | 'leaving' | 'away';

export interface FleetMachine {
  readonly machineId: string;
  readonly offerId: string;
  readonly usdPerHour: number;
  readonly capacity: Capacity;
  readonly state: MachineState;
  /** On it, or on their way to it. */
  readonly vms: readonly FleetVm[];
  /** Since when this process has known it in this state, on its own clock. */
  readonly sinceMs: number;
}

export interface FleetSeen {
  readonly offers: readonly Offer[];
  readonly machines: readonly FleetMachine[];
  /** Sizes that have no host yet: queued jobs without a VM, VMs that wait in the store. */
  readonly waiting: readonly InstanceClass[];
  /** When something last waited without room, or a machine was last launched. */
  readonly lastStirMs: number;
  /** What all machines have cost since midnight (UTC). */
  readonly usdToday: number;
}

/** What more machines may cost per hour: the hour's maximum counts, and what the day has left. */
export function budgetOf(
  { machines, usdToday }: Pick<FleetSeen, 'machines' | 'usdToday'>,
  policy: Pick<FleetPolicy, 'maxUsdPerHour' | 'maxUsdPerDay'>,
): number {
  const spending = machines.reduce((sum, { usdPerHour }) => sum + usdPerHour, 0);
  return Math.min(policy.maxUsdPerHour, policy.maxUsdPerDay - usdToday) - spending;
}

export type Headroom =
  | { readonly kind: 'off' }
  /** The VMs of the fullest host find room on the others. */
  | { readonly kind: 'one-host' }
  /** VMs that together have this share of all used vCPUs do. */
  | { readonly kind: 'share'; readonly share: number };

export interface FleetPolicy {
  readonly minHosts: number;
  readonly maxHosts: number;
  /** The sum of what all machines cost never rises above it by a launch. */
  readonly maxUsdPerHour: number;
  /** None is launched whose first hour, and that of all others, the day has no money left for. */
  readonly maxUsdPerDay: number;
  readonly headroom: Headroom;
  readonly maxLaunchesPerLook: number;
  /** Nothing is given back or replaced until the fleet has been calm for so long. */
  readonly calmMs: number;
  /** A machine that has not joined by then never will. */
  readonly joinLimitMs: number;
  /** A machine whose agent is away for so long, with nothing on it, is given back. */
  readonly awayLimitMs: number;
  /** For how long a saving counts: prices do not hold for ever. */
  readonly horizonMs: number;
  /** A saving must be so many times what it costs. */
  readonly savingMargin: number;
  readonly moveCosts: MoveCosts;
  /** Where offers say what they risk. */
  readonly riskCosts: RiskCosts;
}

export interface MoveCosts {
  /** Traffic between zones costs money in both directions. */
  readonly usdPerGb: number;
  /** How likely a move fails so that its job is lost. */
  readonly lossProbability: number;
  /** What a lost job costs: its run anew, and somebody's patience. */
  readonly usdPerLoss: number;
  /** How long two hosts are paid for one: from the launch until the old one is given back. */
  readonly overlapMs: number;
}

export const DEFAULT_FLEET_POLICY: FleetPolicy = Object.freeze({
  minHosts: 1,
  maxHosts: 50,
  maxUsdPerHour: 5,
  maxUsdPerDay: Number.POSITIVE_INFINITY,
  headroom: Object.freeze({ kind: 'one-host' }),
  maxLaunchesPerLook: 10,
  calmMs: 300_000,
  joinLimitMs: 900_000,
  awayLimitMs: 600_000,
  horizonMs: 4 * 3_600_000,
  savingMargin: 1.5,
  moveCosts: Object.freeze({
    usdPerGb: 0.02,
    lossProbability: 0.001,
    usdPerLoss: 1,
    overlapMs: 600_000,
  }),
  riskCosts: Object.freeze({ usdPerReclaim: 1, scorePremium: 0.1 }),
});

export type FleetStep =
  | {
      readonly kind: 'launch';
      readonly offerId: string;
      /** What this machine may cost at most, whatever is bought in the offer's place. */
      readonly maxUsdPerHour: number;
      readonly why: string;
    }
  /** Its VMs move away live, and it is given no others. */
  | { readonly kind: 'empty'; readonly machineId: string; readonly why: string }
  /** It is needed after all. */
  | { readonly kind: 'keep'; readonly machineId: string; readonly why: string }
  | { readonly kind: 'terminate'; readonly machineId: string; readonly why: string };
