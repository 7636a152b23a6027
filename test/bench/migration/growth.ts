/**
 * Whether a VM takes more of its hosts the oftener it moves: memory of its QEMU and of the agents
 * (PSS, which counts what is shared once), and what of its disk's files is in the page cache, after
 * each hop of a 4 GB guest that uses 500 MB.
 */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import type { BenchContext, BenchResult } from '../bench.ts';
import { formatNumber } from '../statistics.ts';
import { BenchFleet, processesOf, readIfThere } from './bench-fleet.ts';
import { GUEST_MIB } from './bench-pool.ts';
import { MovingVm } from './moving-vm.ts';
import type { Row } from './row.ts';

const MIB = 1024 * 1024;
const SIZE = { vcpus: 1, memoryMib: GUEST_MIB, diskGib: 2, arch: 'x64' } as const;
const HOPS = 10;
const TARGET_GROWTH = 0.1;
const USE_500_MIB = `
mount -o remount,size=90% /dev/shm
dd if=/dev/urandom of=/dev/shm/fill bs=1M count=400 status=none
`;
const USE_LIMIT_MS = 300_000;

export const growthRow: Row = { name: 'growth', run };

interface Taken {
  readonly pssBytes: number;
  readonly cacheBytes: number;
}

async function run({ signal, progress }: BenchContext): Promise<BenchResult> {
  await using fleet = await BenchFleet.open({
    hosts: 2,
    store: (dir) => ({ kind: 'folder', path: join(dir, 'store') }),
  });
  const vm = await MovingVm.start(fleet, { at: 0, size: SIZE });
  await vm.run(USE_500_MIB, USE_LIMIT_MS);
  await vm.untilTracked();
  const taken: Taken[] = [await readTaken(fleet)];
  for (let hop = 1; hop <= HOPS; hop += 1) {
    signal.throwIfAborted();
    await vm.moveTo(1 - vm.at);
    await vm.untilTracked();
    await vm.untilGoneFrom(1 - vm.at);
    const now = await readTaken(fleet);
    taken.push(now);
    progress(`hop ${hop}: ${formatNumber(sum(now) / MIB)} MiB`);
  }
  return describe(taken);
}

async function readTaken(fleet: BenchFleet): Promise<Taken> {
  const pssBytes = processesOf(fleet.name)
    .map((pid) => readIfThere(`/proc/${pid}/smaps_rollup`))
    .map((text) => Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0))
    .reduce((all, kib) => all + kib * 1024, 0);
  const files = globSync(join(fleet.dir, 'h*/vms/*/**/*'), { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  if (files.length === 0) return { pssBytes, cacheBytes: 0 };
  const { stdout } = await execa('fincore', ['-b', '-n', '-o', 'RES', ...files]);
  const cacheBytes = stdout.split('\n').reduce((all, line) => all + Number(line), 0);
  return { pssBytes, cacheBytes };
}

function sum({ pssBytes, cacheBytes }: Taken): number {
  return pssBytes + cacheBytes;
}

/** The first hop fills what a host keeps once, so it is what the others are compared with. */
function describe(taken: readonly Taken[]): BenchResult {
  const [, first, ...later] = taken;
  const last = later.at(-1);
  const growth = first && last ? sum(last) / sum(first) - 1 : Number.NaN;
  return {
    tables: [
      {
        title: 'memory of both hosts for one 4 GB guest that uses 500 MB, MiB',
        headings: [
          'after hop',
          'QEMU and agents (PSS)',
          'disk files in the page cache',
          'together',
        ],
        rows: taken.map((one, hop) => [
          String(hop),
          formatNumber(one.pssBytes / MIB),
          formatNumber(one.cacheBytes / MIB),
          formatNumber(sum(one) / MIB),
        ]),
      },
    ],
    targets: [
      {
        what: `growth from hop 1 to hop ${HOPS}`,
        wanted: `at most ${TARGET_GROWTH * 100} %`,
        measured: `${formatNumber(growth * 100)} %`,
        met: growth <= TARGET_GROWTH,
      },
    ],
    figures: { taken, growth },
  };
}
