/** Webhooks through the front door: how many a second, how soon answered, and what a burst takes. */
import type { Bench, BenchContext, BenchResult, BenchTable } from './bench.ts';
import { type Acceptance, type Accepted, measureAcceptance } from './intake/accept.ts';
import { type Burst, measureBurst } from './intake/burst.ts';
import { formatNumber } from './statistics.ts';

/** GitHub's average: 71 million jobs a day, three events each. */
const WANTED_PER_SECOND = 3_000;
const WANTED_P99_MS = 50;
const BURST_JOBS = 5_000;
const SHOWN_OWNERS = 12;

const LOADS: readonly (Acceptance & { readonly name: string })[] = [
  {
    name: 'sustained',
    ...{ webhooks: 20 * WANTED_PER_SECOND, connections: 64, perSecond: WANTED_PER_SECOND },
  },
  { name: 'flat out', webhooks: 30_000, connections: 16, perSecond: undefined },
];

type Measured = (typeof LOADS)[number] & { readonly result: Accepted };

export const intakeBench: Bench = {
  name: 'intake',
  about: 'signed webhooks per second through the front door, and a burst of 5,000 jobs to its plan',
  rows: ['accept', 'burst'],
  run: async (context) => {
    const wants = (row: string) => context.rows.length === 0 || context.rows.includes(row);
    const accepted = wants('accept') ? await acceptAll(context) : [];
    const burst = wants('burst') ? await planBurst(context) : undefined;
    return describe(accepted, burst);
  },
};

async function acceptAll({ signal, progress }: BenchContext): Promise<readonly Measured[]> {
  const measured: Measured[] = [];
  for (const load of LOADS) {
    progress(`${load.name}: ${load.webhooks} webhooks over ${load.connections} connections`);
    measured.push({ ...load, result: await measureAcceptance(load, signal) });
  }
  return measured;
}

async function planBurst({ signal, progress }: BenchContext): Promise<Burst> {
  progress(`burst: ${BURST_JOBS} jobs at once`);
  return await measureBurst(BURST_JOBS, signal);
}

function describe(accepted: readonly Measured[], burst: Burst | undefined): BenchResult {
  const rates = accepted.length === 0 ? [] : [ratesOf(accepted), ...accepted.map(timesOf)];
  return {
    tables: [...rates, ...(burst === undefined ? [] : [burstOf(burst)])],
    targets: accepted.flatMap(({ perSecond, result }) =>
      perSecond === undefined ? [] : [targetOf(result)],
    ),
    figures: { ...Object.fromEntries(accepted.map(({ name, result }) => [name, result])), burst },
  };
}

function targetOf({ perSecond, latencyMs }: Accepted) {
  return {
    what: 'webhooks accepted, with Redis and the load on the same machine',
    wanted: `${WANTED_PER_SECOND}/s, p99 < ${WANTED_P99_MS} ms`,
    measured: `${formatNumber(perSecond)}/s, p99 ${formatNumber(latencyMs.p99)} ms`,
    // An even pace ends a moment after its last webhook is due.
    met: perSecond > 0.99 * WANTED_PER_SECOND && latencyMs.p99 < WANTED_P99_MS,
  };
}

function ratesOf(accepted: readonly Measured[]): BenchTable {
  const rows = accepted.map(({ name, connections, webhooks, result }) => {
    const { perSecond, latencyMs, cores } = result;
    const { p50, p99, max } = latencyMs;
    const figures = [connections, webhooks, perSecond, p50, p99, max];
    return [name, ...[...figures, cores.door, cores.redis, cores.load].map(formatNumber)];
  });
  return {
    title: 'webhooks accepted, and the cores that each part kept busy (load: GitHub’s side)',
    headings: [
      ...['load', 'connections', 'webhooks', 'per s', 'p50 ms', 'p99 ms', 'max ms'],
      ...['front door', 'redis', 'load'],
    ],
    rows,
  };
}

function timesOf({ name, webhooks, result }: Measured): BenchTable {
  const total = result.time.reduce((sum, { ms }) => sum + ms, 0);
  const rows = result.time.slice(0, SHOWN_OWNERS).map(({ owner, ms }) => {
    return [owner, formatNumber((ms * 1000) / webhooks), `${((100 * ms) / total).toFixed(1)} %`];
  });
  const headings = ['in', 'µs per webhook', 'share'];
  return { title: `${name}: where the front door's thread spends its time`, headings, rows };
}

function burstOf({ jobs, webhookSeconds, lastPlanSeconds, planMs }: Burst): BenchTable {
  const figures = [jobs, webhookSeconds, lastPlanSeconds, planMs.p50, planMs.p99];
  const headings = [
    ...['jobs', 'first to last webhook, s', 'last webhook to last plan, s'],
    ...['webhook to plan p50 ms', 'p99 ms'],
  ];
  return {
    title: 'a burst, each job planned a VM; none ends meanwhile',
    headings,
    rows: [figures.map(formatNumber)],
  };
}
