/**
 * Buys, empties and gives back machines as planFleet says, one look after the other.
 *
 *   look at offers, machines, agents, jobs ─→ planFleet ─→ launch | empty | keep | terminate
 *
 * What is remembered here may be lost: after a restart, machines that were being emptied serve again
 * until they are chosen anew, and a machine that never joined gets its time once more. What was spent
 * is on disk, and the time in which no process looked is counted, too. Nothing is done on a picture that is older than the last deed.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { HostId } from '../../../host-agent/protocol/ids.ts';
import { dayOf, spendByDay } from '../../planner/fleet/day-spend.ts';
import type { FleetMachine, FleetPolicy, FleetStep } from '../../planner/fleet/fleet-seen.ts';
import { planFleet } from '../../planner/fleet/plan-fleet.ts';
import type { Observed } from '../../planner/observed.ts';
import type { Offer, Provider, ProviderHost } from '../../providers/provider.ts';
import type { HostPrice } from '../../records/job-cost.ts';
import type { EnrolmentTokens, Evidence, Fleet, FleetHost } from '../ports.ts';
import { isSamePrice, priceOf } from './host-prices.ts';
import { addStart, advanceStarts, type HostStart } from './host-starts.ts';
import { type KnownMachine, rememberMachines, seeMachines, seeWaiting } from './see-fleet.ts';

const LAUNCH_TIMEOUT_MS = 120_000;
const DAY_MS = 86_400_000;
const MAX_DECISIONS = 100;

export interface Decision {
  readonly atMs: number;
  readonly kind: FleetStep['kind'];
  /** The offer that was bought, or the machine. */
  readonly subject: string;
  /** With its arithmetic. */
  readonly why: string;
  /** Null: done. */
  readonly failed: string | null;
}

export interface BuyerOptions {
  readonly provider: Provider;
  readonly policy: FleetPolicy;
  readonly tokens: EnrolmentTokens;
  readonly fleet: Pick<Fleet, 'hosts'>;
  readonly evidence: Pick<Evidence, 'rememberPrice' | 'addSpend' | 'spendOn'>;
  readonly now: () => number;
  readonly logger: Logger;
}

export interface SeenByProvider {
  readonly offers: readonly Offer[];
  readonly machines: readonly ProviderHost[];
  /** The planner's last picture; undefined: there is none yet. */
  readonly observed: { readonly picture: Observed; readonly atMs: number } | undefined;
  readonly signal: AbortSignal;
}

export class FleetBuyer {
  readonly #options: BuyerOptions;
  readonly #emptying = new Set<string>();
  readonly #reclaimed = new Set<string>();
  readonly #prices = new Map<string, HostPrice>();
  #known: ReadonlyMap<string, KnownMachine> = new Map();
  #machines: readonly FleetMachine[] = [];
  #decisions: readonly Decision[] = [];
  #starts: readonly HostStart[] = [];
  #lastStirMs: number;
  #lastDeedMs = Number.NEGATIVE_INFINITY;

  constructor(options: BuyerOptions) {
    this.#options = options;
    this.#lastStirMs = options.now();
  }

  /** The newest last. */
  get decisions(): readonly Decision[] {
    return this.#decisions;
  }

  /** Of the machines that were bought last, the newest last. */
  get starts(): readonly HostStart[] {
    return this.#starts;
  }

  /** At every picture of the world, so that moments are told apart. */
  watch(observed: Observed, nowMs: number): void {
    this.#starts = advanceStarts(this.#starts, this.#options.fleet.hosts(), observed, nowMs);
  }

  /** What was counted since midnight (UTC). */
  get usdToday(): number {
    return this.#options.evidence.spendOn(dayOf(this.#options.now()))?.usd ?? 0;
  }

  get usdPerHour(): number {
    return this.#machines.reduce((sum, { usdPerHour }) => sum + usdPerHour, 0);
  }

  /** Hosts that are given no VMs, and whose VMs move away. */
  emptyingHosts(): ReadonlySet<HostId> {
    const hosts = this.#options.fleet.hosts();
    return new Set(
      hosts.filter(({ hostname }) => this.#emptying.has(hostname)).map(({ id }) => id),
    );
  }

  /** A step that fails is logged and left: the next look plans anew. */
  async keep(seen: SeenByProvider): Promise<void> {
    const { now, policy } = this.#options;
    const { observed, offers } = seen;
    if (observed === undefined || observed.atMs <= this.#lastDeedMs) return;
    const nowMs = now();
    this.#look(seen, observed.picture, nowMs);
    const machines = this.#machines;
    const waiting = seeWaiting(observed.picture);
    const lastStirMs = this.#lastStirMs;
    const usdToday = this.#account(nowMs);
    const look = { offers, machines, waiting, lastStirMs, usdToday };
    const { steps, isShort } = planFleet(look, policy, nowMs);
    if (isShort) this.#lastStirMs = nowMs;
    if (steps.length === 0) return;
    await Promise.all(steps.map((step) => this.#run(step, seen.signal)));
    this.#lastDeedMs = now();
  }

  /** Counts what the machines cost since the last look, of an earlier process too; today's sum. */
  #account(nowMs: number): number {
    const { evidence } = this.#options;
    const today = dayOf(nowMs);
    const counted = evidence.spendOn(today) ?? evidence.spendOn(dayOf(nowMs - DAY_MS));
    const fromMs = counted?.untilMs ?? nowMs;
    for (const day of spendByDay({ fromMs, toMs: nowMs }, this.usdPerHour)) evidence.addSpend(day);
    if (counted === undefined) evidence.addSpend({ day: today, usd: 0, untilMs: nowMs });
    return evidence.spendOn(today)?.usd ?? 0;
  }

  #look({ offers, machines }: SeenByProvider, observed: Observed, nowMs: number): void {
    const { fleet, provider } = this.#options;
    const hosts = fleet.hosts();
    const there = new Set(machines.map(({ machineId }) => machineId));
    for (const known of [this.#emptying, this.#reclaimed, this.#prices])
      for (const machineId of known.keys()) if (!there.has(machineId)) known.delete(machineId);
    const known = this.#known;
    const emptying = this.#emptying;
    this.#machines = seeMachines({ offers, machines, hosts, observed, emptying, known, nowMs });
    this.#known = rememberMachines(this.#machines);
    this.#notePrices(machines, hosts, nowMs);
    for (const { hostname, report } of hosts) {
      const isTaken = report?.notice?.kind === 'interruption' && there.has(hostname);
      if (!isTaken || this.#reclaimed.has(hostname)) continue;
      this.#reclaimed.add(hostname);
      provider.noteReclaim?.(hostname);
    }
  }

  /** When a host joins, and whenever its price changes. */
  #notePrices(machines: readonly ProviderHost[], hosts: readonly FleetHost[], nowMs: number): void {
    const { evidence } = this.#options;
    const byName = new Map(hosts.map((host) => [host.hostname, host]));
    for (const machine of machines) {
      const host = byName.get(machine.machineId);
      const price = priceOf(machine, host?.facts?.capacity, nowMs);
      if (host === undefined || price === undefined) continue;
      const before = this.#prices.get(machine.machineId);
      if (before !== undefined && isSamePrice(before, price)) continue;
      this.#prices.set(machine.machineId, price);
      evidence.rememberPrice(host.id, price);
    }
  }

  async #run(step: FleetStep, signal: AbortSignal): Promise<void> {
    const { logger, now } = this.#options;
    const subject = step.kind === 'launch' ? step.offerId : step.machineId;
    let failed: string | null = null;
    try {
      await this.#execute(step, AbortSignal.any([signal, AbortSignal.timeout(LAUNCH_TIMEOUT_MS)]));
      logger.info({ step: step.kind, subject, why: step.why }, 'fleet step');
    } catch (error) {
      failed = error instanceof Error ? error.message : String(error);
      logger.error({ err: error, step: step.kind, subject, why: step.why }, 'fleet step failed');
    }
    const decision = { atMs: now(), kind: step.kind, subject, why: step.why, failed };
    this.#decisions = [...this.#decisions, decision].slice(-MAX_DECISIONS);
  }

  async #execute(step: FleetStep, signal: AbortSignal): Promise<void> {
    const { provider, tokens, now } = this.#options;
    if (step.kind === 'empty') this.#emptying.add(step.machineId);
    if (step.kind === 'keep') this.#emptying.delete(step.machineId);
    if (step.kind === 'terminate') {
      // One that never joined would be bought again and again: its like rests for a while.
      if (this.#known.get(step.machineId)?.state === 'launching')
        provider.noteReclaim?.(step.machineId);
      await provider.terminate(step.machineId, signal);
    }
    if (step.kind !== 'launch') return;
    this.#lastStirMs = now();
    const { offerId, maxUsdPerHour } = step;
    const machine = await provider.launch(
      {
        ...{ offerId, maxPricePerHourUsd: maxUsdPerHour },
        ...{ clientToken: randomUUID(), enrolmentToken: tokens.issue() },
      },
      signal,
    );
    this.#starts = addStart(this.#starts, machine);
  }
}
