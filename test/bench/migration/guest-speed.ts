/**
 * What tracking costs a guest: how much of the same work it does in the same time, tracked and not.
 * Both guests are there all the time and work in turn; the one that rests costs the other next to
 * nothing. Software emulation makes a guest's work slow and leaves what the agent does as it is.
 */
import { join } from 'node:path';
import type { BenchContext, BenchResult } from '../bench.ts';
import { formatNumber, summarize } from '../statistics.ts';
import { BenchFleet, type FleetSpec } from './bench-fleet.ts';
import { GUEST_MIB } from './bench-pool.ts';
import { countRounds, WORK } from './guest-loads.ts';
import { MovingVm } from './moving-vm.ts';
import type { Row } from './row.ts';

const SIZE = { vcpus: 1, memoryMib: GUEST_MIB, diskGib: 2, arch: 'x64' } as const;
const TURNS = 3;
const SECONDS = 8;
const LIMIT_MS = 120_000;
const IDLE_SHARE = 0.95;
const BUSY_SHARE = 0.9;

export const guestSpeedRow: Row = { name: 'guest-speed', run };

interface Compared {
  readonly work: string;
  /** Rounds a second, of each turn. */
  readonly tracked: readonly number[];
  readonly untracked: readonly number[];
}

async function run({ signal, progress }: BenchContext): Promise<BenchResult> {
  const store: FleetSpec['store'] = (dir) => ({ kind: 'folder', path: join(dir, 'store') });
  await using tracking = await BenchFleet.open({ hosts: 1, store });
  await using plain = await BenchFleet.open({ hosts: 1, isTracking: false });
  const tracked = await MovingVm.start(tracking, { at: 0, size: SIZE });
  const untracked = await MovingVm.start(plain, { at: 0, size: SIZE });
  await tracked.untilTracked();
  const compared: Compared[] = [];
  for (const [name, script] of Object.entries(WORK)) {
    const one = { work: name, tracked: [] as number[], untracked: [] as number[] };
    for (let turn = 0; turn < TURNS; turn += 1) {
      signal.throwIfAborted();
      one.tracked.push(await rate(tracked, script));
      one.untracked.push(await rate(untracked, script));
    }
    progress(`${name}: ${formatNumber(shareOf(one))} of the untracked guest's speed`);
    compared.push(one);
  }
  return describe(compared);
}

async function rate(vm: MovingVm, script: string): Promise<number> {
  const [rounds, ns] = (await vm.run(countRounds(script, SECONDS), LIMIT_MS)).trim().split(' ');
  return Number(rounds) / (Number(ns) / 1e9);
}

/** Of the medians. */
function shareOf({ tracked, untracked }: Compared): number {
  return summarize(tracked).p50 / summarize(untracked).p50;
}

function describe(compared: readonly Compared[]): BenchResult {
  const spread = (rates: readonly number[]) => {
    const { min, p50, max } = summarize(rates);
    return `${formatNumber(p50)} (${formatNumber(min)}–${formatNumber(max)})`;
  };
  return {
    tables: [
      {
        title: `rounds of work a second in a 4 GB guest, median of ${TURNS} turns of ${SECONDS} s (lowest–highest)`,
        headings: ['work', 'tracked', 'not tracked', 'share'],
        rows: compared.map((one) => [
          one.work,
          spread(one.tracked),
          spread(one.untracked),
          formatNumber(shareOf(one)),
        ]),
      },
    ],
    targets: compared.map((one) => {
      const wanted = one.work === 'idle-ish' ? IDLE_SHARE : BUSY_SHARE;
      const share = shareOf(one);
      return {
        what: `speed of a tracked guest, ${one.work}`,
        wanted: `at least ${wanted}`,
        measured: formatNumber(share),
        met: share >= wanted,
      };
    }),
    figures: { compared },
  };
}
