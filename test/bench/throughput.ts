/** Thousands of jobs through webhook → queue → plan → host → completed, and what limits them. */
import type { Bench, BenchContext, BenchResult, BenchTable } from './bench.ts';
import { formatNumber } from './statistics.ts';
import type { Setting } from './throughput/control-plane.ts';
import { type LoadResult, runLoad } from './throughput/load.ts';

interface Load {
  readonly name: string;
  readonly setting: Setting;
}

/** `flood`: all jobs are queued as fast as webhooks are taken. `steady`: an even, busy day. */
const LOADS: readonly Load[] = [
  { name: 'flood', setting: { jobs: 10_000, openJobs: 10_000, hosts: 100 } },
  { name: 'steady', setting: { jobs: 2_000, openJobs: 50, hosts: 100 } },
];
const SHOWN_OWNERS = 14;

type Loaded = Load & { readonly result: LoadResult };

export const throughputBench: Bench = {
  name: 'throughput',
  about: '10,000 simulated jobs through webhook, queue, plan, host, completed',
  run: async (context) => describe(await runAll(context)),
};

async function runAll({ signal, progress }: BenchContext): Promise<readonly Loaded[]> {
  const loaded: Loaded[] = [];
  for (const load of LOADS) {
    const { jobs, openJobs } = load.setting;
    progress(`${load.name}: ${jobs} jobs, at most ${openJobs} open`);
    loaded.push({ ...load, result: await runLoad(load.setting, signal) });
  }
  return loaded;
}

function describe(loaded: readonly Loaded[]): BenchResult {
  return {
    tables: [rates(loaded), latencies(loaded), ...loaded.map(times)],
    targets: [],
    figures: Object.fromEntries(loaded.map(({ name, result }) => [name, result])),
  };
}

function rates(loaded: readonly Loaded[]): BenchTable {
  const rows = loaded.map(({ name, setting, result }) => {
    const { seconds, webhooks, cores, maxQueueDepth } = result;
    const figures = [
      ...[setting.jobs, setting.openJobs, seconds, setting.jobs / seconds, webhooks / seconds],
      ...[maxQueueDepth, cores.controlPlane, cores.redis, cores.github],
    ];
    return [name, ...figures.map(formatNumber)];
  });
  return {
    title: 'rates, and the cores that each part kept busy (github: the load itself)',
    headings: [
      ...['load', 'jobs', 'open at most', 'seconds', 'jobs/s', 'webhooks/s', 'longest queue'],
      ...['control plane', 'redis', 'github'],
    ],
    rows,
  };
}

function latencies(loaded: readonly Loaded[]): BenchTable {
  const rows = loaded.flatMap(({ name, result }) =>
    result.latencies.map(({ moment, ms }) => [
      name,
      moment,
      ...[ms.count, ms.p50, ms.p99, ms.max].map(formatNumber),
    ]),
  );
  const headings = ['load', 'until', 'jobs', 'p50 ms', 'p99 ms', 'max ms'];
  return { title: 'from webhook received', headings, rows };
}

function times({ name, setting, result }: Loaded): BenchTable {
  const total = result.time.reduce((sum, { ms }) => sum + ms, 0);
  const rows = result.time
    .slice(0, SHOWN_OWNERS)
    .map(({ owner, ms }) => [
      owner,
      formatNumber((ms * 1000) / setting.jobs),
      `${((100 * ms) / total).toFixed(1)} %`,
    ]);
  return {
    title: `${name}: where the control plane's thread spends its time`,
    headings: ['in', 'µs per job', 'share'],
    rows,
  };
}
