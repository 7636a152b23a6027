/**
 * How many hosts a provider keeps. Pure. Only running or launching machines count, and not those that
 * their cloud takes back: each is replaced at once. A surplus machine is ended only when it is known to
 * carry no VM and to expect none.
 */
import type { Offer, ProviderHost } from '../providers/provider.ts';

export type HostStep =
  | { readonly kind: 'launch'; readonly offerId: string; readonly clientToken: string }
  | { readonly kind: 'terminate'; readonly machineId: string };

export interface HostsObserved {
  readonly desiredHosts: number;
  readonly offers: readonly Offer[];
  readonly machines: readonly ProviderHost[];
  /** Machines whose host is connected and has no VM. */
  readonly emptyMachines: ReadonlySet<string>;
  /** Machines whose host has a notice, or a hint that one may come. */
  readonly leavingMachines: ReadonlySet<string>;
}

const MAX_LAUNCHES_PER_TICK = 10;

/** The cheapest offer (ties by id) for what is missing; the newest empty machines go first. */
export function planHosts(observed: HostsObserved, newTokens: Iterable<string>): HostStep[] {
  const alive = observed.machines.filter((machine) => machine.state !== 'terminating');
  const staying = alive.filter(({ machineId }) => !observed.leavingMachines.has(machineId));
  const missing = observed.desiredHosts - staying.length;
  if (missing < 0) return planTerminations(staying, observed.emptyMachines, -missing);
  const [offer] = [...observed.offers].sort(
    (a, b) => a.pricePerHourUsd - b.pricePerHourUsd || (a.id < b.id ? -1 : 1),
  );
  if (offer === undefined) return [];
  const tokens = newTokens[Symbol.iterator]();
  const steps: HostStep[] = [];
  while (steps.length < Math.min(missing, MAX_LAUNCHES_PER_TICK)) {
    const token = tokens.next();
    if (token.done === true) break;
    steps.push({ kind: 'launch', offerId: offer.id, clientToken: token.value });
  }
  return steps;
}

function planTerminations(
  alive: readonly ProviderHost[],
  empty: ReadonlySet<string>,
  surplus: number,
): HostStep[] {
  return alive
    .filter((machine) => empty.has(machine.machineId))
    .sort((a, b) => b.launchedAtMs - a.launchedAtMs || (a.machineId < b.machineId ? 1 : -1))
    .slice(0, surplus)
    .map(({ machineId }) => ({ kind: 'terminate', machineId }));
}
