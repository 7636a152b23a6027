/**
 * Buys, empties and gives back machines as planFleet says, one look after the other.
 *
 *   look at offers, machines, agents, jobs ─→ planFleet ─→ launch | empty | keep | terminate
 *
 * What is remembered here may be lost: after a restart, machines that were being emptied serve again
 * until they are chosen anew, and a machine that never joined gets its time once more. Nothing is done
 * on a picture that is older than the last deed.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { HostId } from '../../../host-agent/protocol/ids.ts';
import type { FleetMachine, FleetPolicy, FleetStep } from '../../planner/fleet/fleet-seen.ts';
import { planFleet } from '../../planner/fleet/plan-fleet.ts';
import type { Observed } from '../../planner/observed.ts';
import type { Offer, Provider, ProviderHost } from '../../providers/provider.ts';
import type { EnrolmentTokens, Fleet } from '../ports.ts';
import { type KnownMachine, rememberMachines, seeMachines, seeWaiting } from './see-fleet.ts';

const LAUNCH_TIMEOUT_MS = 120_000;
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
  #known: ReadonlyMap<string, KnownMachine> = new Map();
  #machines: readonly FleetMachine[] = [];
  #decisions: readonly Decision[] = [];
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
    const { steps, isShort } = planFleet({ offers, machines, waiting, lastStirMs }, policy, nowMs);
    if (isShort) this.#lastStirMs = nowMs;
    if (steps.length === 0) return;
    await Promise.all(steps.map((step) => this.#run(step, seen.signal)));
    this.#lastDeedMs = now();
  }

  #look({ offers, machines }: SeenByProvider, observed: Observed, nowMs: number): void {
    const { fleet, provider } = this.#options;
    const hosts = fleet.hosts();
    const there = new Set(machines.map(({ machineId }) => machineId));
    for (const set of [this.#emptying, this.#reclaimed])
      for (const machineId of set) if (!there.has(machineId)) set.delete(machineId);
    const known = this.#known;
    const emptying = this.#emptying;
    this.#machines = seeMachines({ offers, machines, hosts, observed, emptying, known, nowMs });
    this.#known = rememberMachines(this.#machines);
    for (const { hostname, report } of hosts) {
      const isTaken = report?.notice?.kind === 'interruption' && there.has(hostname);
      if (!isTaken || this.#reclaimed.has(hostname)) continue;
      this.#reclaimed.add(hostname);
      provider.noteReclaim?.(hostname);
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
    await provider.launch(
      {
        ...{ offerId, maxPricePerHourUsd: maxUsdPerHour },
        ...{ clientToken: randomUUID(), enrolmentToken: tokens.issue() },
      },
      signal,
    );
  }
}
