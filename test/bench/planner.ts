/** `plan()` on fleets of growing size: one running VM on each host, a queued job for every other. */

import { SHARE } from '../../app/planner/moves-world.ts';
import {
  DEFAULT_PLANNER_CONFIG,
  type Observed,
  type ObservedHost,
  type ObservedJob,
  type ObservedVm,
  type PlannerConfig,
} from '../../app/planner/observed.ts';
import { plan } from '../../app/planner/plan.ts';
import type { HostNotice } from '../../host-agent/protocol/host-notice.ts';
import { HostId, JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { Bench, BenchContext, BenchResult } from './bench.ts';
import { formatNumber, type Summary, summarize } from './statistics.ts';

const HOST_COUNTS = [10, 100, 1_000, 10_000];
const MIN_TICKS = 15;
const MAX_TICKS = 2_000;
/** Small fleets are measured as long as large ones, so that their figures are as calm. */
const MEASURE_MS = 1_500;
const WARM_UP_MS = 700;
const TARGET_MS = 100;
const MAX_EXPONENT = 1.1;
const NOW_MS = 1_000_000;
const CLASS = { vcpus: 2, memoryMib: 4096, diskGib: 20, arch: 'x64' } as const;
const NOTICE: HostNotice = {
  ...{ kind: 'interruption', source: 'ec2', seenAtMs: NOW_MS },
  deadlineMs: NOW_MS + 120_000,
};
const TRACKING = {
  bytesUnsealed: 50_000_000,
  bytesInStore: 500_000_000,
  dirtyBytesPerSecond: 1_000_000,
  lastCheckpoint: null,
};
const CAPACITY = { vcpus: 8, memoryMib: 32_768, diskGib: 400 };

interface Setting {
  readonly name: string;
  readonly config: PlannerConfig;
  /** One host in so many has a notice; 0: none. */
  readonly noticedEvery: number;
}

const CONFIGS: readonly Setting[] = [
  { name: 'default', config: DEFAULT_PLANNER_CONFIG, noticedEvery: 0 },
  { name: 'one host in ten goes away', config: DEFAULT_PLANNER_CONFIG, noticedEvery: 10 },
  {
    name: 'no start cap',
    noticedEvery: 0,
    config: {
      ...DEFAULT_PLANNER_CONFIG,
      maxVms: Number.MAX_SAFE_INTEGER,
      maxStartsPerTick: Number.MAX_SAFE_INTEGER,
    },
  },
];

interface Measured {
  readonly config: string;
  readonly hosts: number;
  readonly steps: number;
  readonly ms: Summary;
  readonly usPerHost: number;
}

export const plannerBench: Bench = {
  name: 'planner',
  about: 'one tick of plan() from 10 to 10,000 hosts',
  run: async (context) => describe(await measureAll(context)),
};

async function measureAll({ signal, progress }: BenchContext): Promise<readonly Measured[]> {
  const measured: Measured[] = [];
  for (const { name, config, noticedEvery } of CONFIGS) {
    for (const hosts of HOST_COUNTS) {
      progress(`plan() with ${hosts} hosts, ${name}`);
      measured.push({ config: name, ...measure(makeFleet(hosts, noticedEvery), config) });
      await new Promise(setImmediate);
      signal.throwIfAborted();
    }
  }
  return measured;
}

function measure(observed: Observed, config: PlannerConfig): Omit<Measured, 'config'> {
  const newVmIds = observed.hosts.map((_, n) => vmIdOf(1_000_000 + n));
  const newMigrationIds = observed.hosts.map((_, n) => MigrationId.parse(`mig-${n}`));
  const tick = () => plan({ observed, config, nowMs: NOW_MS, newVmIds, newMigrationIds }).length;
  const startMs = performance.now();
  while (performance.now() - startMs < WARM_UP_MS) tick();
  const times: number[] = [];
  let steps = 0;
  const beganMs = performance.now();
  while (times.length < MAX_TICKS) {
    const atMs = performance.now();
    if (times.length >= MIN_TICKS && atMs - beganMs > MEASURE_MS) break;
    steps = tick();
    times.push(performance.now() - atMs);
  }
  const ms = summarize(times);
  const hosts = observed.hosts.length;
  return { hosts, steps, ms, usPerHost: (ms.p50 * 1000) / hosts };
}

function describe(measured: readonly Measured[]): BenchResult {
  const rows = measured.map(({ config, hosts, steps, ms, usPerHost }) => [
    config,
    hosts.toLocaleString('en'),
    steps.toLocaleString('en'),
    String(ms.count),
    formatNumber(ms.min),
    formatNumber(ms.p50),
    formatNumber(ms.max),
    formatNumber(usPerHost),
  ]);
  const headings = [
    'config',
    'hosts',
    'steps',
    'ticks',
    'min ms',
    'median ms',
    'max ms',
    'µs/host',
  ];
  const worst = Math.max(...measured.map(({ ms }) => ms.p50));
  const growth = CONFIGS.map(({ name }) => growthOf(measured.filter((one) => one.config === name)));
  return {
    tables: [{ title: 'time of one plan', headings, rows }],
    targets: [
      {
        what: 'median at 10,000 hosts',
        wanted: `< ${TARGET_MS} ms`,
        measured: `${formatNumber(worst)} ms at worst`,
        met: worst < TARGET_MS,
      },
      {
        what: 'growth from 10 to 10,000 hosts, as a power of their number, by the fastest ticks',
        wanted: `1 is linear; up to ${MAX_EXPONENT} for what falls out of the CPU's caches`,
        measured: growth.map((exponent) => exponent.toFixed(2)).join(' and '),
        met: growth.every((exponent) => exponent <= MAX_EXPONENT),
      },
    ],
    figures: { measured, growth },
  };
}

/** The slope of a least-squares line through (log hosts, log fastest): others' load slows the rest. */
function growthOf(measured: readonly Measured[]): number {
  const points = measured.map(({ hosts, ms }) => ({ x: Math.log(hosts), y: Math.log(ms.min) }));
  const mean = (pick: (point: { x: number; y: number }) => number) =>
    points.reduce((sum, point) => sum + pick(point), 0) / points.length;
  const [meanX, meanY] = [mean(({ x }) => x), mean(({ y }) => y)];
  const covariance = mean(({ x, y }) => (x - meanX) * (y - meanY));
  return covariance / mean(({ x }) => (x - meanX) ** 2);
}

function makeFleet(count: number, noticedEvery: number): Observed {
  const numbers = Array.from({ length: count }, (_, index) => index);
  return {
    ...{ migrations: [], wishes: [], leftCopies: [] },
    hosts: numbers.map((n) => makeHost(n, noticedEvery > 0 && n % noticedEvery === 0)),
    vms: numbers.map(makeVm),
    jobs: [
      ...numbers.map((n) => makeJob(n, { state: 'in-progress', vmId: vmIdOf(n) })),
      ...numbers
        .filter((n) => n % 2 === 0)
        .map((n) => makeJob(count + n, { state: 'queued', vmId: undefined })),
    ],
  };
}

function makeHost(n: number, isNoticed: boolean): ObservedHost {
  const id = hostIdOf(n);
  return {
    ...{ id, stateSinceMs: 0, capacity: CAPACITY, templateReady: true },
    state: isNoticed ? 'draining' : 'connected',
    notice: isNoticed ? NOTICE : undefined,
    drained: false,
    gone: false,
  };
}

function makeVm(n: number): ObservedVm {
  return {
    id: vmIdOf(n),
    hostId: hostIdOf(n),
    phase: 'busy',
    class: CLASS,
    forJob: jobIdOf(n),
    runsJob: jobIdOf(n),
    runnerId: n + 1,
    phaseSinceMs: NOW_MS - 1_000,
    missing: false,
    unknown: false,
    runnerExited: false,
    runnerWord: undefined,
    why: undefined,
    lastEpoch: 1,
    tracking: TRACKING,
    keyed: true,
    rewindable: false,
    lastCheckpointAtMs: undefined,
    leaseOverAtMs: undefined,
    held: false,
    resize: undefined,
    resizing: false,
  };
}

function makeJob(n: number, given: Pick<ObservedJob, 'state' | 'vmId'>): ObservedJob {
  return {
    ...given,
    id: jobIdOf(n),
    class: CLASS,
    queuedAtMs: NOW_MS - 60_000 + scatter(n, 50_000),
    vmsStarted: given.vmId === undefined ? 0 : 1,
    startedAtMs: given.vmId === undefined ? undefined : NOW_MS - 1_000,
    labelsKey: 'architect',
    share: SHARE,
    rewindable: false,
  };
}

/** Ids of VMs are random, so no order of theirs agrees with that of hosts or jobs. */
function vmIdOf(n: number): VmId {
  return VmId.parse(
    `vm-${scatter(n, 2 ** 32)
      .toString(16)
      .padStart(8, '0')}`,
  );
}

function hostIdOf(n: number): HostId {
  return HostId.parse(`h-${String(n).padStart(6, '0')}`);
}

function jobIdOf(n: number): JobId {
  return JobId.parse(String(40_000_000_000 + n));
}

function scatter(n: number, range: number): number {
  return (Math.imul(n + 1, 0x9e3779b1) >>> 0) % range;
}
