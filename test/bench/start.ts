/** How fast a VM starts from its template, step by step, beside a cold boot of the same guest. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Bench, BenchContext, BenchResult, BenchTable } from './bench.ts';
import {
  type ColdBootMeasured,
  type HostTask,
  Measured,
  START_STEPS,
  type StartMeasured,
} from './start/host-messages.ts';
import { formatNumber, summarize } from './statistics.ts';

const STARTS: HostTask['starts'] = [
  { className: '2cpu-4gb', vcpus: 2, memoryMib: 4_096, diskGib: 20, count: 20 },
  { className: '8cpu-32gb', vcpus: 8, memoryMib: 32_768, diskGib: 20, count: 5 },
];
const DEFAULT_CLASS = '2cpu-4gb';
const COLD_BOOTS = 3;
const LIMIT_MS = 40 * 60_000;
const END_LIMIT_MS = 60_000;
const TARGET_MS = 300;
const TARGET_RATIO = 50;
const ANSWER = START_STEPS.indexOf('guest agent answers');

export const startBench: Bench = {
  name: 'start',
  about: 'a VM from its template, and a cold boot beside it',
  run: async (context) => describe(await measureAll(context)),
};

/** The host is a network namespace with a process in it; both are gone in the end. */
async function measureAll({ signal, progress }: BenchContext): Promise<readonly Measured[]> {
  const fleet = `bench${randomBytes(2).toString('hex')}`;
  const netns = `ar-${fleet}`;
  const dir = await mkdtemp('/var/tmp/architect-bench-');
  const homeDir = process.env.ARCHITECT_HOME ?? '/var/lib/architect';
  try {
    await execa('ip', ['netns', 'add', netns]);
    await execa('ip', ['-n', netns, 'link', 'set', 'lo', 'up']);
    const task = { fleet, homeDir, dir, starts: STARTS, coldBoots: COLD_BOOTS };
    return await runHost(netns, task, { signal, progress });
  } finally {
    await execa('ip', ['netns', 'delete', netns], { reject: false });
    await rm(dir, { recursive: true, force: true });
  }
}

async function runHost(
  netns: string,
  task: HostTask,
  { signal, progress }: Pick<BenchContext, 'signal' | 'progress'>,
): Promise<readonly Measured[]> {
  const program = join(import.meta.dirname, 'start/host-process.ts');
  const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
  const host = execa('nsenter', [`--net=/run/netns/${netns}`, process.execPath, program], {
    input: JSON.stringify(task),
    stderr: 'inherit',
    buffer: false,
    env: { ARCHITECT_FLEET: task.fleet },
    cancelSignal: limit,
    forceKillAfterDelay: END_LIMIT_MS,
  });
  const measured: Measured[] = [];
  for await (const line of host) {
    const one = Measured.parse(JSON.parse(line));
    measured.push(one);
    progress(describeOne(one));
  }
  return measured;
}

function describeOne(one: Measured): string {
  if (one.kind === 'cold-boot') {
    return `cold boot: answers after ${formatNumber(one.answeredAtMs)} ms, settled after ${formatNumber(one.settledAtMs)} ms`;
  }
  return `${one.className}: ${one.atMs.map(formatNumber).join(', ')} ms`;
}

function describe(measured: readonly Measured[]): BenchResult {
  const starts = measured.filter((one) => one.kind === 'start');
  const boots = measured.filter((one) => one.kind === 'cold-boot');
  const answer = summarize(
    starts
      .filter(({ className }) => className === DEFAULT_CLASS)
      .map(({ atMs }) => atMs[ANSWER] ?? 0),
  );
  const settled = summarize(boots.map(({ settledAtMs }) => settledAtMs));
  const ratio = settled.p50 / answer.p50;
  return {
    tables: [
      ...STARTS.map(({ className }) =>
        stepsOf(
          className,
          starts.filter((one) => one.className === className),
        ),
      ),
      coldBoots(boots),
    ],
    targets: [
      {
        what: `from the decision to the guest agent's first answer, ${DEFAULT_CLASS}, p50`,
        wanted: `at most ${TARGET_MS} ms`,
        measured: `${formatNumber(answer.p50)} ms`,
        met: answer.p50 <= TARGET_MS,
      },
      {
        what: 'a cold boot until systemd has settled takes longer by',
        wanted: `${TARGET_RATIO}× or more`,
        measured: `${formatNumber(ratio)}×`,
        met: ratio >= TARGET_RATIO,
      },
    ],
    figures: { starts, boots, ratio },
  };
}

function stepsOf(className: string, starts: readonly StartMeasured[]): BenchTable {
  const rows = START_STEPS.map((step, index) => {
    const until = summarize(starts.map(({ atMs }) => atMs[index] ?? 0));
    const own = summarize(
      starts.map(({ atMs }) => (atMs[index] ?? 0) - (index === 0 ? 0 : (atMs[index - 1] ?? 0))),
    );
    return [step, ...[own.p50, until.p50, until.p90, until.max].map(formatNumber)];
  });
  return {
    title: `${className}, ${starts.length} starts, milliseconds since the decision`,
    headings: ['until', 'step p50', 'p50', 'p90', 'max'],
    rows,
  };
}

function coldBoots(boots: readonly ColdBootMeasured[]): BenchTable {
  const row = (name: string, values: readonly number[]) => {
    const { p50, p90, max } = summarize(values);
    return [name, ...[p50, p90, max].map(formatNumber)];
  };
  return {
    title: `cold boot, ${boots.length} times, milliseconds since QEMU was spawned`,
    headings: ['until', 'p50', 'p90', 'max'],
    rows: [
      row(
        'guest agent answers',
        boots.map(({ answeredAtMs }) => answeredAtMs),
      ),
      row(
        'systemd has settled',
        boots.map(({ settledAtMs }) => settledAtMs),
      ),
    ],
  };
}
