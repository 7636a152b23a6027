/**
 * Eight VMs leave one host within the 30 seconds that some clouds give, over capped links, a few at a
 * time. The store is a folder here: what targets fetch from it does not go over their links.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { BenchContext, BenchResult } from '../bench.ts';
import { formatNumber } from '../statistics.ts';
import { BenchFleet } from './bench-fleet.ts';
import { GUEST_MIB } from './bench-pool.ts';
import { type CpuUse, measureCpu } from './cpu-use.ts';
import { WRITER } from './guest-loads.ts';
import { type MoveMeasured, MovingVm } from './moving-vm.ts';
import type { Row } from './row.ts';

const SIZE = { vcpus: 1, memoryMib: GUEST_MIB, diskGib: 2, arch: 'x64' } as const;
const VMS = 8;
const TARGETS = 2;
const AT_A_TIME = 2;
const LINK_BYTES_PER_S = 100e6;
const NOTICE_MS = 30_000;

export const evacuationRow: Row = { name: 'evacuation', run };

interface Left {
  readonly atMs: number;
  readonly move: MoveMeasured;
}

async function run({ signal, progress }: BenchContext): Promise<BenchResult> {
  await using fleet = await BenchFleet.open({
    hosts: 1 + TARGETS,
    linkBytesPerSecond: LINK_BYTES_PER_S,
    store: (dir) => ({ kind: 'folder', path: join(dir, 'store') }),
  });
  const vms: MovingVm[] = [];
  for (let count = 1; count <= VMS; count += 1) {
    signal.throwIfAborted();
    progress(`starting VM ${count} of ${VMS}`);
    const vm = await MovingVm.start(fleet, { at: 0, size: SIZE });
    await vm.run(WRITER);
    vms.push(vm);
  }
  for (const vm of vms) await vm.untilTracked();
  const before = await fleet.sentBytes(0);
  const { result: left, cpu } = await measureCpu(fleet.name, () => evacuate(vms, progress));
  return describe(left, { cpu, sentBytes: (await fleet.sentBytes(0)) - before });
}

/** Takes turns with the targets. Rejects when one VM stays. */
async function evacuate(
  vms: readonly MovingVm[],
  progress: (what: string) => void,
): Promise<readonly Left[]> {
  const noticedMs = performance.now();
  const waiting = [...vms.entries()];
  const left: Left[] = [];
  const moveSome = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, vm] = next;
      const move = await vm.moveTo(1 + (index % TARGETS));
      left.push({ atMs: performance.now() - noticedMs, move });
      progress(`${left.length} of ${VMS} are away`);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, moveSome));
  return left;
}

function describe(
  left: readonly Left[],
  { cpu, sentBytes }: { readonly cpu: CpuUse; readonly sentBytes: number },
): BenchResult {
  const lastMs = Math.max(...left.map(({ atMs }) => atMs));
  const shareOf = (ms: number) => `${formatNumber((ms / lastMs / availableParallelism()) * 100)} %`;
  return {
    tables: [
      {
        title: `${VMS} VMs that use some 300 MB of 4 GB off one host, ${AT_A_TIME} at a time, links of ${LINK_BYTES_PER_S / 1e6} MB/s (store not on them)`,
        headings: ['away', 'after s', 'move in all s'],
        rows: left.map(({ atMs, move }, index) => [
          String(index + 1),
          formatNumber(atMs / 1_000),
          formatNumber(move.totalMs / 1_000),
        ]),
      },
      {
        title: `what it took of the ${availableParallelism()} cores of this machine, all hosts and guests on them`,
        headings: ['QEMUs with their guests', 'agents', 'MB that left the host'],
        rows: [[shareOf(cpu.qemuMs), shareOf(cpu.agentMs), formatNumber(sentBytes / 1e6)]],
      },
    ],
    targets: [
      {
        what: `${VMS} VMs that use some 300 MB of 4 GB off one host (software emulation, all hosts on this machine's cores)`,
        wanted: `all within ${NOTICE_MS / 1_000} s`,
        measured: `${left.length} within ${formatNumber(lastMs / 1_000)} s`,
        met: left.length === VMS && lastMs <= NOTICE_MS,
      },
    ],
    figures: {
      ...{ lastMs, sentBytes, cpu },
      each: left.map(({ atMs, move }) => ({ atMs, totalMs: move.totalMs })),
    },
  };
}
