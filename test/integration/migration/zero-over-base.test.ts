/** What a guest clears where its template and its disk's base hold something stays clear, however it goes. */
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { artifactFolder } from '../../../host-agent/protocol/artifact.ts';
import { MigrationId, type VmId } from '../../../host-agent/protocol/ids.ts';
import {
  IMAGE_DISK,
  TEMPLATE_DISK_DELTA,
  TEMPLATE_MEMORY,
  vmFiles,
} from '../../../host-agent/vm/vm-files.ts';
import { SOURCE, TARGET } from './peer-hosts.ts';
import { STORE_VM_CLASS, type StoreHost, StoreWorld } from './store-hosts.ts';
import {
  CLEAR,
  CLEAR_LATE,
  clearedClusters,
  FILES,
  hashScript,
  OutsideMemory,
  offsetOf,
  pagesOf,
  type Run,
} from './zeroed-guest.ts';

const HOME = process.env.ARCHITECT_HOME ?? '/var/lib/architect';
const CLUSTER_BYTES = 64 * 1024;
const MIB = 1024 * 1024;
const MOVE_LIMIT_MS = 120_000;

let world: StoreWorld;
let source: StoreHost;
let target: StoreHost;
beforeEach(async () => {
  world = await StoreWorld.open();
  [source, target] = [await world.host('source'), await world.host('target')];
});
afterEach(async () => {
  await world?.[Symbol.asyncDispose]();
});

async function moveLive(vmId: VmId): Promise<void> {
  const move = {
    ...{ migrationId: MigrationId.parse('mig-1'), vmId, epoch: 2 },
    credential: randomBytes(32).toString('base64'),
    deadlineMs: Date.now() + MOVE_LIMIT_MS,
  };
  const { pool, key } = world;
  const taken = await target.supervisor.serve({
    ...{ ...move, kind: 'receive-vm', from: SOURCE, class: STORE_VM_CLASS, pool, key },
    assignedJob: null,
  });
  if (taken.kind !== 'taken' || taken.peer === undefined) throw new Error(JSON.stringify(taken));
  const { peer } = taken;
  const sent = { ...move, kind: 'send-vm', to: TARGET, peer, cpuShare: 1 } as const;
  expect(await source.supervisor.serve(sent)).toEqual({ kind: 'taken' });
  const report = () => target.supervisor.picture().migrations?.[0];
  await expect.poll(() => report()?.phase).toBe('done');
  expect(report()?.bytesFromStore).toBeGreaterThan(2 * MIB);
}

async function parkAndResume(vmId: VmId): Promise<void> {
  expect(await source.park(vmId, 2)).toEqual({ kind: 'taken' });
  await source.vm(vmId, ({ parked }) => parked === true);
  expect(await target.resume(vmId, 'parked', 2)).toEqual({ kind: 'taken' });
}

const folderOf = (digest: Parameters<typeof artifactFolder>[0]) =>
  join(HOME, 'artifacts', artifactFolder(digest));

/** What template and image have below every overlay. */
function baseDisk() {
  const { image, template } = world.pool;
  const file = (path: string) => ({ driver: 'file', filename: path });
  const backing = { driver: 'raw', file: file(join(folderOf(image), IMAGE_DISK)) };
  const delta = file(join(folderOf(template), TEMPLATE_DISK_DELTA));
  return { driver: 'qcow2', file: delta, backing };
}

async function hashClusters(disk: object, { first, count }: Run): Promise<string> {
  const copy = join(world.dir, `clusters-${first}`);
  const part = { offset: first * CLUSTER_BYTES, size: count * CLUSTER_BYTES };
  const wanted = `json:${JSON.stringify({ driver: 'raw', ...part, file: disk })}`;
  await execa('qemu-img', ['convert', '-U', '-O', 'raw', wanted, copy]);
  const { stdout } = await execa('sha256sum', { inputFile: copy });
  return stdout;
}

function zeros(bytes: number): string {
  return `${createHash('sha256').update(Buffer.alloc(bytes)).digest('hex')}  -`;
}

test.each([
  ['live', moveLive],
  ['parked and resumed', parkAndResume],
] as const)('zero over base is still zero, from inside and outside: %s', async (_how, move) => {
  const vmId = await source.start();
  const clusters = clearedClusters(await source.run(vmId, CLEAR));
  const base = await world.memories.of(folderOf(world.pool.template));
  const run = (script: string) => source.run(vmId, script);
  const pages = await Promise.all(FILES.map((file) => pagesOf(run, file)));
  const held = (page: number) => !base.isZero(offsetOf(page) / 4096);
  const [zeroed = [], mixed = []] = pages;
  // There is something below that could come back.
  expect(clusters.length).toBeGreaterThan(1);
  expect(zeroed.filter(held).length).toBeGreaterThan(256);
  expect(mixed.filter((page, at) => at % 2 === 1 && held(page)).length).toBeGreaterThan(64);
  for (const cleared of clusters) {
    expect(await hashClusters(baseDisk(), cleared)).not.toBe(zeros(cleared.count * CLUSTER_BYTES));
  }
  await source.vm(vmId, ({ tracking }) => (tracking?.bytesInStore ?? 0) > 12 * MIB);
  await source.run(vmId, CLEAR_LATE);
  const hashes = await source.run(vmId, hashScript(clusters));

  await move(vmId);
  const { qemuPid } = await target.vm(vmId, ({ phase }) => phase === 'idle');
  const memoryPath = join(folderOf(world.pool.template), TEMPLATE_MEMORY);
  await using memory = await OutsideMemory.open(qemuPid, memoryPath);
  const overlay = { driver: 'file', filename: vmFiles(target.folder(vmId)).overlay };
  const disk = { driver: 'qcow2', file: overlay, backing: baseDisk() };
  const outside = [
    ...(await Promise.all(pages.map((all) => memory.hash(all)))),
    ...(await Promise.all(clusters.map((cleared) => hashClusters(disk, cleared)))),
  ];
  expect(outside.join('\n')).toBe(hashes);
  await target.restart();
  expect(await target.run(vmId, hashScript(clusters))).toBe(hashes);
});
