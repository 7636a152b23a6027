/**
 * One strategy against one trace: the planner that runs in production places jobs, empties hosts and
 * moves VMs, and the buyer that runs in production buys, over a cloud and hosts that are simulated.
 *
 * A VM is its job here: it runs at once when it is placed, stands still in the store, and is gone when
 * its job is. What a host takes along when it ends is run anew from the start, and counted.
 */
import { pino } from 'pino';
import type { FleetPolicy } from '../../../app/planner/fleet/fleet-seen.ts';
import { DEFAULT_PLANNER_CONFIG, type PlannerConfig } from '../../../app/planner/observed.ts';
import { plan } from '../../../app/planner/plan.ts';
import { FleetBuyer } from '../../../app/reconciler/fleet/fleet-buyer.ts';
import { MigrationId, VmId } from '../../../host-agent/protocol/ids.ts';
import { SimulatedCloud } from './simulated-cloud.ts';
import { SimulatedFleet } from './simulated-fleet.ts';
import type { SpotMarket } from './spot-market.ts';
import { durationMs, type Trace } from './traces.ts';
import type { Work } from './workload.ts';

const LOOK_EVERY_MS = 30_000;
/** While VMs leave a host, the fleet is looked at as often as in production. */
const BUSY_STEP_MS = 2_000;
const CALM_STEP_MS = 10_000;
/** Half of what a link of 10 Gbit/s carries. */
const LINK_BYTES_PER_SECOND = 625_000_000;
const USD_PER_MOVED_GB = 0.02;

export interface Strategy {
  readonly name: string;
  readonly zones: readonly string[];
  readonly onDemand: boolean;
  /** VMs leave a host that is taken back, and move to cheaper ones. */
  readonly moves: boolean;
  readonly headroom: FleetPolicy['headroom'];
}

export interface Outcome {
  readonly usd: number;
  readonly jobs: number;
  /** Runs that a host's end cut off. */
  readonly lost: number;
  readonly moves: number;
  readonly parked: number;
  readonly launches: number;
  readonly reclaims: number;
  /** From its webhook to its first run, of all jobs. */
  readonly meanWaitMs: number;
}

export interface SimulationOptions {
  readonly trace: Trace;
  readonly market: SpotMarket;
  readonly work: readonly Work[];
  readonly strategy: Strategy;
  readonly policy: FleetPolicy;
  readonly signal: AbortSignal;
}

export async function simulate(options: SimulationOptions): Promise<Outcome> {
  const { trace, market, work, strategy, signal } = options;
  const policy = { ...options.policy, headroom: strategy.headroom };
  const cloud = new SimulatedCloud({ trace, market, ...strategy, policy });
  const fleet = new SimulatedFleet({ cloud, work, moves: strategy.moves, machine: trace.machine });
  const buyer = new FleetBuyer({
    ...{ provider: cloud, policy, fleet, now: () => cloud.nowMs },
    // Only the hour is limited here.
    tokens: { issue: () => 'architect_simulated' },
    evidence: {
      rememberPrice: () => undefined,
      addSpend: () => undefined,
      spendOn: () => undefined,
    },
    logger: pino({ level: 'silent' }),
  });
  const config: PlannerConfig = {
    ...DEFAULT_PLANNER_CONFIG,
    linkBytesPerSecond: LINK_BYTES_PER_SECOND,
  };
  const ids = freshIds();
  const untilMs = durationMs(trace);
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  while (cloud.nowMs < untilMs) {
    signal.throwIfAborted();
    fleet.advance(cloud.nowMs + (fleet.isStirring ? BUSY_STEP_MS : CALM_STEP_MS));
    fleet.drained = buyer.emptyingHosts();
    const nowMs = cloud.nowMs;
    const observed = fleet.observe();
    const newIds = { newVmIds: ids.vms, newMigrationIds: ids.migrations };
    for (const step of plan({ observed, config, nowMs, ...newIds })) fleet.apply(step);
    if (nowMs - lookedAtMs < LOOK_EVERY_MS) continue;
    lookedAtMs = nowMs;
    const [offers, machines] = await Promise.all([cloud.offers(), cloud.list()]);
    const picture = { picture: fleet.observe(), atMs: nowMs };
    await buyer.keep({ offers, machines, observed: picture, signal });
  }
  const { figures } = fleet;
  const trafficUsd = (figures.bytesMoved / 1e9) * USD_PER_MOVED_GB;
  return { ...figures, usd: cloud.usd + trafficUsd, launches: cloud.launches };
}

function freshIds() {
  function* vms(): Generator<VmId> {
    for (let n = 1; ; n += 1) yield VmId.parse(`vm-${n}`);
  }
  function* migrations(): Generator<MigrationId> {
    for (let n = 1; ; n += 1) yield MigrationId.parse(`mig-${n}`);
  }
  return { vms: unending(vms()), migrations: unending(migrations()) };
}

/** A loop that breaks off ends a generator; the next plan goes on with the same one. */
function unending<T>(generator: Generator<T>): Iterable<T> {
  return { [Symbol.iterator]: () => ({ next: () => generator.next() }) };
}
