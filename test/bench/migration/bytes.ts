/**
 * What leaves a host after its notice, and for how long, for one VM whose cold memory the store has:
 * counted on the host's link, which is capped. Beside it QEMU's own way for a guest that does the same.
 *
 * The store is a folder here, so what the target fetches does not go over its capped link. What it would
 * take there is printed beside the time, and judged with it.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { BenchContext, BenchResult } from '../bench.ts';
import { formatNumber } from '../statistics.ts';
import { BenchFleet } from './bench-fleet.ts';
import { GUEST_MIB } from './bench-pool.ts';
import { fillMemory } from './guest-loads.ts';
import { MovingVm } from './moving-vm.ts';
import { PlainVm } from './plain-vm.ts';
import type { Row } from './row.ts';

const MIB = 1024 * 1024;
const SIZE = { vcpus: 1, memoryMib: GUEST_MIB, diskGib: 4, arch: 'x64' } as const;
/** With what the guest uses already more than 60 % of its memory, 5 % of it hot. */
const FILL = { fillMib: 2_400, hotMib: 204 };
const LINK_BYTES_PER_S = 100e6;
const FILL_LIMIT_MS = 900_000;
/** A guest is moved then, whatever is left. */
const SEAL_LIMIT_MS = 1_200_000;
const SEAL_LOOK_MS = 1_000;
/** For so long no more than some went to the store: what it lacks is hot. */
const STEADY_MS = 45_000;
const SOME_BYTES = 32 * MIB;
const TARGET_SHARE = 0.15;
const TARGET_TIME_SHARE = 0.25;

export const bytesRow: Row = { name: 'bytes', run };

interface Left {
  readonly bytes: number;
  readonly totalMs: number;
  readonly nonZeroShare: number;
}

interface Uploaded {
  readonly bytes: number;
  readonly requests: number;
  /** From the end of the filling until nothing more was cold. */
  readonly sealedMs: number;
}

async function run({ progress }: BenchContext): Promise<BenchResult> {
  const ours = await measureOurs(progress);
  const plain = await measurePlain(progress);
  return describe({ ...ours, plain });
}

async function measureOurs(progress: (what: string) => void) {
  await using fleet = await BenchFleet.open({
    hosts: 2,
    linkBytesPerSecond: LINK_BYTES_PER_S,
    store: (dir) => ({ kind: 'folder', path: join(dir, 'store') }),
  });
  const vm = await MovingVm.start(fleet, { at: 0, size: SIZE });
  progress('filling the memory of a guest');
  const nonZeroShare = parseShare(await vm.run(fillMemory(FILL), FILL_LIMIT_MS));
  progress('waiting until what is cold is in the store');
  const sealedMs = await untilSealed(vm);
  const uploaded = { ...(await readStore(join(fleet.dir, 'store'))), sealedMs };
  const before = await fleet.sentBytes(0);
  const { totalMs, report } = await vm.moveTo(1);
  const bytes = (await fleet.sentBytes(0)) - before;
  const { bytesFromStore } = report;
  return { ours: { bytes, totalMs, nonZeroShare }, uploaded, bytesFromStore };
}

async function measurePlain(progress: (what: string) => void): Promise<Left> {
  await using fleet = await BenchFleet.open({ hosts: 2, linkBytesPerSecond: LINK_BYTES_PER_S });
  await using vm = await PlainVm.start(fleet, SIZE);
  progress("the same for QEMU's own move");
  const nonZeroShare = parseShare(await vm.run(fillMemory(FILL), FILL_LIMIT_MS));
  const before = await fleet.sentBytes(0);
  const { totalMs } = await vm.move();
  return { bytes: (await fleet.sentBytes(0)) - before, totalMs, nonZeroShare };
}

/** Gives how long it took. */
async function untilSealed(vm: MovingVm): Promise<number> {
  const begunMs = performance.now();
  let most = 0;
  let moreAtMs = begunMs;
  for (;;) {
    const { bytesInStore } = await vm.untilTracked();
    const nowMs = performance.now();
    if (bytesInStore > most + SOME_BYTES) [most, moreAtMs] = [bytesInStore, nowMs];
    const isOver = nowMs - begunMs >= SEAL_LIMIT_MS || nowMs - moreAtMs >= STEADY_MS;
    if (isOver) return moreAtMs - begunMs;
    await delay(SEAL_LOOK_MS);
  }
}

/** Each object was one request, at least. */
async function readStore(path: string): Promise<Omit<Uploaded, 'sealedMs'>> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size),
  );
  return { bytes: sizes.reduce((sum, size) => sum + size, 0), requests: files.length };
}

function parseShare(text: string): number {
  const [total = Number.NaN, free = Number.NaN] = text.trim().split(/\s+/).map(Number);
  return (total - free) / total;
}

interface Measured {
  readonly ours: Left;
  readonly plain: Left;
  readonly uploaded: Uploaded;
  /** Plain; what cannot be compressed is as long in the store. */
  readonly bytesFromStore: number;
}

function describe(measured: Measured): BenchResult {
  const { ours, plain, uploaded } = measured;
  const row = (name: string, { bytes, totalMs, nonZeroShare }: Left, before: string) => [
    name,
    formatNumber(bytes / MIB),
    formatNumber(totalMs / 1_000),
    `${formatNumber(nonZeroShare * 100)} %`,
    before,
  ];
  const { bytes: stored, requests, sealedMs } = uploaded;
  const before = `${formatNumber(stored / MIB)} MiB in ${requests} objects, ${formatNumber(sealedMs / 1_000)} s after it was filled`;
  return {
    tables: [
      {
        title: `one 4 GB guest leaves a host with a link of ${LINK_BYTES_PER_S / 1e6} MB/s: incompressible memory, ${FILL.hotMib} MiB of it hot, after a compile`,
        headings: ['', 'MiB left the host', 'seconds in all', 'memory in use', 'uploaded before'],
        rows: [
          row('Architect (store not on the link)', ours, before),
          row('QEMU alone', plain, 'nothing'),
        ],
      },
    ],
    targets: targetsOf(measured),
    figures: { ...measured },
  };
}

function targetsOf({ ours, plain, bytesFromStore }: Measured): BenchResult['targets'] {
  const share = ours.bytes / plain.bytes;
  const timeShare = ours.totalMs / plain.totalMs;
  const storeMs = (bytesFromStore / LINK_BYTES_PER_S) * 1_000;
  const percent = (part: number) => `${formatNumber(part * 100)} %`;
  return [
    {
      what: "bytes that leave the source after the notice, as a share of QEMU's own",
      wanted: `at most ${percent(TARGET_SHARE)}`,
      measured: percent(share),
      met: share <= TARGET_SHARE,
    },
    {
      what: "notice → runs elsewhere, as a share of QEMU's own",
      wanted: `at most ${percent(TARGET_TIME_SHARE)}`,
      measured: `${percent(timeShare)}; what came from the store takes ${formatNumber(storeMs / 1_000)} s of such a link, ${percent(storeMs / plain.totalMs)}`,
      met: Math.max(ours.totalMs, storeMs) / plain.totalMs <= TARGET_TIME_SHARE,
    },
  ];
}
