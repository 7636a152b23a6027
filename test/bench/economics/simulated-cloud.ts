/**
 * A provider that sells one machine in the zones of a trace, with EC2's manners: a zone without capacity
 * is found out by asking, and is then left alone for a while, by the same circuit breaker.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { FleetPolicy } from '../../../app/planner/fleet/fleet-seen.ts';
import { CircuitBreaker } from '../../../app/providers/ec2/circuit-breaker.ts';
import type { Offer, Provider, ProviderHost } from '../../../app/providers/provider.ts';
import type { SpotMarket } from './spot-market.ts';
import { isUp, nextEndMs, type Trace, type Zone } from './traces.ts';

const HOUR_MS = 3_600_000;
const DISK_GIB = 1_000;
const ON_DEMAND = 'on-demand';

export interface CloudMachine {
  readonly id: string;
  readonly zone: Zone | undefined;
  readonly offerId: string;
  readonly launchedAtMs: number;
  /** Spot: when the trace ends it. */
  readonly endsAtMs: number | undefined;
}

export interface CloudOptions {
  readonly trace: Trace;
  readonly market: SpotMarket;
  /** Of these zones; and on demand, where the strategy may. */
  readonly zones: readonly string[];
  readonly onDemand: boolean;
  readonly policy: FleetPolicy;
}

export class SimulatedCloud implements Provider {
  readonly name = 'simulated';
  readonly desiredHosts = 0;
  readonly knowsEnds = true;
  readonly policy: FleetPolicy;
  readonly machines = new Map<string, CloudMachine>();
  nowMs = 0;
  usd = 0;
  launches = 0;
  readonly #options: CloudOptions;
  readonly #breaker = new CircuitBreaker();

  constructor(options: CloudOptions) {
    this.#options = options;
    this.policy = options.policy;
  }

  async offers(): Promise<readonly Offer[]> {
    return this.#all().filter(({ id }) => !this.#breaker.isOpen(id, this.nowMs));
  }

  async launch({ offerId, maxPricePerHourUsd = 0 }: Parameters<Provider['launch']>[0]) {
    const others = this.#all()
      .filter(({ id, pricePerHourUsd }) => id !== offerId && pricePerHourUsd <= maxPricePerHourUsd)
      .toSorted((a, b) => a.pricePerHourUsd - b.pricePerHourUsd);
    for (const id of [offerId, ...others.map((one) => one.id)]) {
      if (this.#breaker.isOpen(id, this.nowMs)) continue;
      const zone = this.#options.trace.zones.find(({ name }) => name === id);
      if (id === ON_DEMAND || this.#hasCapacity(zone)) return this.#hostOf(this.#add(id, zone));
      this.#breaker.fail(id, 'InsufficientInstanceCapacity', this.nowMs);
    }
    throw new Error('There is no capacity.');
  }

  async list(): Promise<readonly ProviderHost[]> {
    return [...this.machines.values()].map((machine) => this.#hostOf(machine));
  }

  async terminate(machineId: string): Promise<void> {
    await turn();
    this.machines.delete(machineId);
  }

  noteReclaim(machineId: string): void {
    const machine = this.machines.get(machineId);
    if (machine !== undefined) this.#breaker.fail(machine.offerId, 'taken back', this.nowMs);
  }

  /** What the machines cost until then. */
  advance(toMs: number): void {
    const hours = (toMs - this.nowMs) / HOUR_MS;
    for (const { offerId } of this.machines.values()) this.usd += this.#price(offerId) * hours;
    this.nowMs = toMs;
  }

  #all(): readonly Offer[] {
    const { zones, onDemand, trace } = this.#options;
    const { vcpus, memoryMib } = trace.machine;
    const capacity = { vcpus, memoryMib: Math.floor(memoryMib * 0.9), diskGib: DISK_GIB };
    return [...zones, ...(onDemand ? [ON_DEMAND] : [])].map((id) => ({
      ...{ id, capacity, spot: id !== ON_DEMAND, place: id },
      pricePerHourUsd: this.#price(id),
    }));
  }

  #price(offerId: string): number {
    const { market, trace } = this.#options;
    return offerId === ON_DEMAND ? trace.machine.onDemandUsd : market(offerId, this.nowMs);
  }

  #hasCapacity(zone: Zone | undefined): boolean {
    return zone !== undefined && isUp(zone, this.#options.trace.gapMs, this.nowMs);
  }

  #add(offerId: string, zone: Zone | undefined): CloudMachine {
    const endsAtMs =
      zone === undefined ? undefined : nextEndMs(zone, this.#options.trace.gapMs, this.nowMs);
    this.launches += 1;
    const id = `m${String(this.launches).padStart(6, '0')}`;
    const machine = { id, zone, offerId, launchedAtMs: this.nowMs, endsAtMs };
    this.machines.set(id, machine);
    return machine;
  }

  #hostOf({ id, offerId, launchedAtMs }: CloudMachine): ProviderHost {
    const { vcpus, memoryMib } = this.#options.trace.machine;
    return {
      ...{ machineId: id, offerId, state: 'running', launchedAtMs },
      capacity: { vcpus, memoryMib: Math.floor(memoryMib * 0.9), diskGib: DISK_GIB },
      pricePerHourUsd: this.#price(offerId),
    };
  }
}
