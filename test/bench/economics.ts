/**
 * What moving is worth: measured spot availability is replayed through the planners that run in
 * production, and the same work is priced for other ways to buy. Prices and work are drawn, from fixed
 * seeds; the bench says so. Also how long the buyer's planner takes.
 */
import { DEFAULT_FLEET_POLICY, type FleetPolicy } from '../../app/planner/fleet/fleet-seen.ts';
import type { Bench, BenchContext, BenchResult, BenchTable, Target } from './bench.ts';
import { measureFleetPlanner, PLANNER_HOSTS } from './economics/planner-time.ts';
import { type Outcome, type Strategy, simulate } from './economics/simulation.ts';
import { drawMarket } from './economics/spot-market.ts';
import { durationMs, readTraces, type Trace } from './economics/traces.ts';
import { drawWork } from './economics/workload.ts';
import { formatNumber } from './statistics.ts';

const DAY_MS = 86_400_000;
const MAX_DAYS = 14;
const SEED = 20_230_419;
const JOBS_PER_HOUR_PER_VCPU = 2;
const TARGET_MS = 100;
const POLICY: FleetPolicy = {
  ...DEFAULT_FLEET_POLICY,
  ...{ minHosts: 0, maxHosts: 200, maxUsdPerHour: 1_000 },
};

export const economicsBench: Bench = {
  name: 'economics',
  about: 'cost, lost jobs and moves, by measured spot histories (--data) and drawn prices',
  run: async (context) => {
    const plannerMs = measureFleetPlanner();
    const traces = context.data === undefined ? [] : await readTraces(context.data);
    const replays: Replay[] = [];
    for (const trace of traces) replays.push(await replay(shorten(trace), context));
    return describe({ plannerMs, replays, hasData: context.data !== undefined });
  },
};

interface Row {
  readonly strategy: string;
  readonly outcome: Outcome;
}

interface Replay {
  readonly trace: Trace;
  readonly rows: readonly Row[];
}

async function replay(trace: Trace, { signal, progress }: BenchContext): Promise<Replay> {
  const market = drawMarket(trace, SEED);
  const jobsPerHour = Math.max(20, trace.machine.vcpus * JOBS_PER_HOUR_PER_VCPU);
  const work = drawWork({ untilMs: durationMs(trace), jobsPerHour, seed: SEED + 1 });
  const outcomes: Row[] = [];
  for (const strategy of strategiesFor(trace)) {
    progress(`${trace.name}: ${strategy.name}`);
    const outcome = await simulate({ trace, market, work, strategy, policy: POLICY, signal });
    outcomes.push({ strategy: strategy.name, outcome });
  }
  return { trace, rows: withBestFixed(outcomes) };
}

const FIXED = 'always ';

function strategiesFor({ zones }: Trace): readonly Strategy[] {
  const all = zones.map(({ name }) => name);
  const plain = { onDemand: true, moves: false, headroom: { kind: 'off' } } as const;
  return [
    { ...plain, name: 'on demand', zones: [] },
    { ...plain, name: 'plain spot, re-runs', zones: all },
    ...all.map((zone) => ({ ...plain, name: `${FIXED}${zone}`, zones: [zone] })),
    { ...plain, name: 'Architect, no headroom', zones: all, moves: true },
    { ...plain, name: 'Architect', zones: all, moves: true, headroom: { kind: 'one-host' } },
  ];
}

/** Of the choices of one zone, only the one that turned out cheapest is shown. */
function withBestFixed(rows: readonly Row[]): readonly Row[] {
  const fixed = rows.filter(({ strategy }) => strategy.startsWith(FIXED));
  const [best] = fixed.toSorted((a, b) => a.outcome.usd - b.outcome.usd);
  return rows.flatMap((row) => {
    if (!fixed.includes(row)) return [row];
    return row === best ? [{ ...row, strategy: `best in hindsight: ${row.strategy}` }] : [];
  });
}

function shorten(trace: Trace): Trace {
  const samples = Math.floor((MAX_DAYS * DAY_MS) / trace.gapMs);
  return {
    ...trace,
    zones: trace.zones.map((zone) => ({ ...zone, up: zone.up.slice(0, samples) })),
  };
}

interface Measured {
  readonly plannerMs: number;
  readonly replays: readonly Replay[];
  readonly hasData: boolean;
}

function describe({ plannerMs, replays, hasData }: Measured): BenchResult {
  const missing: BenchTable = {
    title: 'no histories: give their folder with --data FOLDER; nothing was replayed',
    headings: [],
    rows: [],
  };
  return {
    tables: hasData ? replays.map(tableOf) : [missing],
    targets: [plannerTarget(plannerMs)],
    figures: {
      plannerMs,
      replays: replays.map(({ trace, rows }) => ({ trace: trace.name, rows })),
    },
  };
}

function tableOf({ trace, rows }: Replay): BenchTable {
  const days = formatNumber(durationMs(trace) / DAY_MS);
  const base = rows[0]?.outcome.usd ?? 0;
  return {
    title:
      `${trace.name}: ${trace.machine.type} in ${trace.zones.length} zones for ${days} days; ` +
      'availability measured; prices and work drawn; a notice of 120 s before each end assumed',
    headings: [
      ...['strategy', 'cost $', 'of on demand', '$/1000 jobs', 'jobs', 'runs lost', 'per 1000'],
      ...['moves', 'parked', 'reclaims', 'launches', 'mean wait s'],
    ],
    rows: rows.map(({ strategy, outcome }) => [
      strategy,
      formatNumber(outcome.usd),
      `${((100 * outcome.usd) / base).toFixed(0)} %`,
      formatNumber((1000 * outcome.usd) / outcome.jobs),
      outcome.jobs.toLocaleString('en'),
      outcome.lost.toLocaleString('en'),
      formatNumber((1000 * outcome.lost) / outcome.jobs),
      ...[outcome.moves, outcome.parked, outcome.reclaims, outcome.launches].map((count) =>
        count.toLocaleString('en'),
      ),
      formatNumber(outcome.meanWaitMs / 1000),
    ]),
  };
}

function plannerTarget(plannerMs: number): Target {
  return {
    what: `the buyer's planner at ${PLANNER_HOSTS.toLocaleString('en')} hosts, the worst of three fleets`,
    wanted: `< ${TARGET_MS} ms`,
    measured: `${formatNumber(plannerMs)} ms`,
    met: plannerMs < TARGET_MS,
  };
}
