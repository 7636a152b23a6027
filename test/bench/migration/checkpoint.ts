/**
 * What a checkpoint costs a VM that works, and its host: how long the guest stands, how long it is not
 * tracked, the processors' time beyond what working and tracking take anyway, and what goes into the
 * store. The first one has all of the guest to send; those after it what changed.
 */
import { globSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CheckpointMark } from '../../../host-agent/migration/checkpoint-trace.ts';
import {
  CHECKPOINT_SHARE,
  DEFAULT_INTERVAL_MS,
  planCheckpoint,
} from '../../../host-agent/migration/plan-checkpoint.ts';
import type { BenchContext, BenchResult } from '../bench.ts';
import { formatNumber, summarize } from '../statistics.ts';
import { BenchFleet, processesOf, readIfThere } from './bench-fleet.ts';
import { GUEST_MIB } from './bench-pool.ts';
import { WRITER } from './guest-loads.ts';
import { MovingVm } from './moving-vm.ts';
import type { Row } from './row.ts';

const MB = 1e6;
const SIZE = { vcpus: 1, memoryMib: GUEST_MIB, diskGib: 2, arch: 'x64' } as const;
/** Between two, in which what the guest works and tracking take by themselves is measured. */
const CALM_MS = 5_000;
/** Of `utime` and `stime` in /proc (proc(5), sysconf(_SC_CLK_TCK)); the same on every x86 Linux. */
const TICK_MS = 10;
/** The fields of /proc/PID/stat after the name in brackets; `utime` and `stime` are 14 and 15. */
const STAT_AFTER_NAME = 3;

export const checkpointRow: Row = { name: 'checkpoint', run };

interface Measured extends CheckpointMark {
  /** Of agent and QEMU, beyond what they take in as much time without a checkpoint. */
  readonly cpuMs: number;
  /** What the store has grown by. */
  readonly storedBytes: number;
}

async function run({ moves, signal, progress }: BenchContext): Promise<BenchResult> {
  const store = (dir: string) => ({ kind: 'folder', path: join(dir, 'store') }) as const;
  await using fleet = await BenchFleet.open({ hosts: 1, store });
  const vm = await MovingVm.start(fleet, { at: 0, size: SIZE });
  await vm.run(WRITER);
  await vm.untilTracked();
  const measured: Measured[] = [];
  for (let count = 1; count <= moves; count += 1) {
    signal.throwIfAborted();
    const one = await measure(fleet, { vm, signal });
    measured.push(one);
    progress(`checkpoint ${count}: guest stood ${formatNumber(one.stopMs)} ms`);
  }
  return describe(measured);
}

async function measure(
  fleet: BenchFleet,
  { vm, signal }: { readonly vm: MovingVm; readonly signal: AbortSignal },
): Promise<Measured> {
  const calmFrom = look(fleet);
  await delay(CALM_MS, undefined, { signal });
  const before = look(fleet);
  const cost = await vm.checkpoint();
  const after = look(fleet);
  const calmShare = (before.cpuMs - calmFrom.cpuMs) / (before.atMs - calmFrom.atMs);
  const cpuMs = after.cpuMs - before.cpuMs - calmShare * (after.atMs - before.atMs);
  return { ...cost, cpuMs: Math.max(0, cpuMs), storedBytes: after.bytes - before.bytes };
}

function look({ name, dir }: BenchFleet) {
  const files = globSync(join(dir, 'store/**/*'), { withFileTypes: true });
  const bytes = files
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name: file }) => sum + sizeOf(join(parentPath, file)), 0);
  const cpuMs = processesOf(name).reduce((sum, pid) => sum + readCpuMs(pid), 0);
  return { atMs: performance.now(), cpuMs, bytes };
}

/** 0: renamed or collected meanwhile. */
function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function readCpuMs(pid: number): number {
  const stat = readIfThere(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [user = 0, system = 0] = [14, 15].map((n) => Number(fields[n - STAT_AFTER_NAME] ?? 0));
  return (user + system) * TICK_MS;
}

function describe(measured: readonly Measured[]): BenchResult {
  const stops = measured.map(({ stopMs }) => stopMs);
  const busy = measured.map(({ busyMs }) => busyMs);
  const costs = measured.map(({ stopMs, busyMs }) => stopMs + busyMs);
  const { intervalMs } = planCheckpoint(measured);
  const of = (what: string, values: readonly number[]) => {
    const { p50, p90, max } = summarize(values);
    return [what, ...[values[0] ?? 0, p50, p90, max].map(formatNumber)];
  };
  const cpu = measured.map(({ cpuMs }) => cpuMs);
  const sealed = measured.map(({ sealedBytes }) => sealedBytes / MB);
  const stored = measured.map(({ storedBytes }) => storedBytes / MB);
  return {
    tables: [
      {
        title: `${measured.length} checkpoints of a 4 GB guest that writes memory and disk`,
        headings: ['', 'the first', 'p50', 'p90', 'max'],
        rows: [
          of('guest stands, ms', stops),
          of('until tracked again, ms', busy),
          of('CPU of agent and QEMU beyond the usual, ms', cpu),
          of('content that the store did not have, MB', sealed),
          of('the store grew, MB', stored),
        ],
      },
      {
        title: 'age of the last checkpoint at a sudden death, s',
        headings: ['interval', 's', 'usual age', 'most'],
        rows: [
          ageRow('by default', DEFAULT_INTERVAL_MS, costs),
          ageRow('that these costs allow', intervalMs, costs),
        ],
      },
    ],
    targets: [share('standing', stops), share('standing and, at most, slowed down', costs)],
    figures: { measured, intervalMs },
  };
}

/** Until the next one is in the store, the last one counts. */
function ageRow(name: string, intervalMs: number, costs: readonly number[]): readonly string[] {
  const usualMs = intervalMs / 2 + summarize(costs).p50;
  const mostMs = intervalMs + summarize(costs).max;
  return [name, ...[intervalMs, usualMs, mostMs].map((ms) => formatNumber(ms / 1000))];
}

function share(what: string, costs: readonly number[]): BenchResult['targets'][number] {
  const measured = summarize(costs).p50 / DEFAULT_INTERVAL_MS;
  return {
    what: `the guest's time, ${what}, at the default interval, p50`,
    wanted: `at most ${formatNumber(CHECKPOINT_SHARE * 100)} %`,
    measured: `${formatNumber(measured * 100)} %`,
    met: measured <= CHECKPOINT_SHARE,
  };
}
