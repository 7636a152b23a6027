/**
 * How long a guest stands still in a move, there and back, its disk included, beside QEMU's own. Both
 * guests do the same and both are moved in turn, so whatever else the machine does meets both.
 */
import { join } from 'node:path';
import type { BenchContext, BenchResult } from '../bench.ts';
import { formatNumber, summarize } from '../statistics.ts';
import { BenchFleet } from './bench-fleet.ts';
import { GUEST_MIB } from './bench-pool.ts';
import { WRITER } from './guest-loads.ts';
import { type MoveMeasured, MovingVm } from './moving-vm.ts';
import { PlainVm } from './plain-vm.ts';
import type { Row } from './row.ts';

const SIZE = { vcpus: 1, memoryMib: GUEST_MIB, diskGib: 2, arch: 'x64' } as const;
const TARGET_P50_MS = 30;
const TARGET_P99_MS = 100;
const TARGET_MORE_MS = 20;

export const blackoutRow: Row = { name: 'blackout', run };

interface Measured {
  readonly ours: readonly MoveMeasured[];
  readonly plainMs: readonly number[];
}

async function run(context: BenchContext): Promise<BenchResult> {
  await using fleet = await BenchFleet.open({
    hosts: 2,
    store: (dir) => ({ kind: 'folder', path: join(dir, 'store') }),
  });
  const vm = await MovingVm.start(fleet, { at: 0, size: SIZE });
  await using plain = await PlainVm.start(fleet, SIZE);
  await vm.run(WRITER);
  await plain.run(WRITER);
  return describe(await measure({ vm, plain }, context));
}

async function measure(
  { vm, plain }: { readonly vm: MovingVm; readonly plain: PlainVm },
  { moves, signal, progress }: BenchContext,
): Promise<Measured> {
  const ours: MoveMeasured[] = [];
  const plainMs: number[] = [];
  for (let move = 1; move <= moves; move += 1) {
    signal.throwIfAborted();
    await vm.untilTracked();
    const measured = await vm.moveTo(1 - vm.at);
    const { blackoutMs } = await plain.move();
    ours.push(measured);
    plainMs.push(blackoutMs);
    progress(
      `move ${move}: ${formatNumber(measured.blackoutMs)} ms, QEMU's own ${formatNumber(blackoutMs)} ms`,
    );
  }
  return { ours, plainMs };
}

function describe({ ours, plainMs }: Measured): BenchResult {
  const own = summarize(ours.map(({ blackoutMs }) => blackoutMs));
  const plain = summarize(plainMs);
  const row = (name: string, { p50, p90, p99, max }: typeof own) => [
    name,
    ...[p50, p90, p99, max].map(formatNumber),
  ];
  const more = own.p50 - plain.p50;
  return {
    tables: [
      {
        title: `blackout of ${ours.length} moves there and back, ms: 4 GB guest that writes memory and disk`,
        headings: ['', 'p50', 'p90', 'p99', 'max'],
        rows: [
          row('Architect: stop sent → cont answered', own),
          row('QEMU alone: STOP → RESUME', plain),
        ],
      },
      stepsOf(ours),
    ],
    targets: [
      target('blackout, p50', own.p50, TARGET_P50_MS),
      target('blackout, p99', own.p99, TARGET_P99_MS),
      target("blackout beyond QEMU's own, p50", more, TARGET_MORE_MS),
    ],
    figures: { blackoutMs: own, plainMs: plain, each: ours.map(({ steps }) => steps) },
  };
}

function stepsOf(ours: readonly MoveMeasured[]): BenchResult['tables'][number] {
  const steps = new Map<string, number[]>();
  for (const { steps: passed, blackoutMs } of ours) {
    for (const [step, ms] of passed) {
      if (ms > blackoutMs) continue;
      const times = steps.get(step) ?? [];
      times.push(ms);
      steps.set(step, times);
    }
  }
  const rows = [...steps].map(([step, times]) => {
    const { p50, p90, max } = summarize(times);
    return { p50, row: [step, ...[p50, p90, max].map(formatNumber)] };
  });
  return {
    title: 'where it goes: ms since stop was sent',
    headings: ['step', 'p50', 'p90', 'max'],
    rows: rows.toSorted((a, b) => a.p50 - b.p50).map(({ row }) => row),
  };
}

function target(what: string, measuredMs: number, limitMs: number) {
  return {
    what: `${what} (software emulation and both hosts on this machine's cores)`,
    wanted: `at most ${limitMs} ms`,
    measured: `${formatNumber(measuredMs)} ms`,
    met: measuredMs <= limitMs,
  };
}
