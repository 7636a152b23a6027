/** A VM's points in the store: what comes back from them is what it was, wherever it comes back. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { startS3 } from './s3-store.ts';
import { type StoreHost, StoreWorld, type TestJournals } from './store-hosts.ts';

/** A file on the disk, one in memory, a process that counts. Gives their hashes. */
const PREPARE = `
  dd if=/dev/urandom of=/root/file bs=1M count=8 status=none; sync
  mkdir -p /mem; mount -t tmpfs -o size=64m none /mem; dd if=/dev/urandom of=/mem/file bs=1M count=24 status=none
  setsid bash -c 'n=0; while true; do n=$((n+1)); echo $n > /mem/count; sleep 0.05; done' >/dev/null 2>&1 </dev/null &
  sha256sum /root/file /mem/file`;
/** The disk's file read from the disk. */
const HASH = 'echo 3 > /proc/sys/vm/drop_caches; sha256sum /root/file /mem/file';
const COUNT = 'cat /mem/count';

type Id = Awaited<ReturnType<StoreHost['start']>>;

async function count(host: StoreHost, vmId: Id): Promise<number> {
  return Number(await host.run(vmId, `until [ -s /mem/count ]; do :; done; ${COUNT}`));
}

async function untilCounting(host: StoreHost, vmId: Id, from: number): Promise<void> {
  await expect.poll(() => count(host, vmId), { timeout: 30_000 }).toBeGreaterThan(from);
}

async function checkpoint(host: StoreHost, vmId: Id) {
  const before = host.report(vmId)?.tracking?.lastCheckpoint?.generation ?? 0;
  expect(await host.supervisor.serve({ kind: 'checkpoint-vm', vmId })).toEqual({ kind: 'taken' });
  const isNew = (generation = 0) => generation > before;
  await host.vm(vmId, ({ tracking }) => isNew(tracking?.lastCheckpoint?.generation));
}

test('a checkpoint comes back elsewhere when its host is gone, as another clone', async () => {
  await using world = await StoreWorld.open();
  const source = await world.host('s');
  const target = await world.host('t');
  const vmId = await source.start();
  const hashes = await source.run(vmId, PREPARE);
  await checkpoint(source, vmId);
  const atCheckpoint = await count(source, vmId);
  await untilCounting(source, vmId, atCheckpoint);
  await checkpoint(source, vmId);
  const after = await count(source, vmId);
  await source.close();
  await rm(source.dir, { recursive: true });
  expect(await target.resume(vmId, 'parked', 1_000_000)).toEqual({ kind: 'taken' });
  const refused = await target.vm(vmId, ({ phase }) => phase === 'stopped');
  expect(refused).toMatchObject({ parked: true, epoch: 1_000_000 });
  expect(refused.why).toMatch(/checkpoint, not where it was parked/);
  // As long as something of the first attempt is there it is refused, as for any host without room.
  const resume = () => target.resume(vmId, 'rewound', 1_000_001);
  await expect.poll(resume, { timeout: 20_000 }).toEqual({ kind: 'taken' });
  await target.vm(vmId, ({ phase }) => phase === 'idle');
  await target.restart();
  const again = await count(target, vmId);
  expect(again).toBeGreaterThan(atCheckpoint);
  expect(again).toBeLessThan(after + 200);
  expect(await target.run(vmId, HASH)).toBe(hashes);
  await untilCounting(target, vmId, again);
  await target.vm(vmId, ({ tracking }) => tracking !== undefined);
});

test('a parked VM goes on elsewhere after a while, with its clock set', async () => {
  await using world = await StoreWorld.open();
  const source = await world.host('s');
  const target = await world.host('t');
  const vmId = await source.start();
  const hashes = await source.run(vmId, PREPARE);
  const before = await count(source, vmId);
  expect(await source.park(vmId, 2)).toEqual({ kind: 'taken' });
  const parked = await source.vm(vmId, ({ phase }) => phase === 'stopped');
  expect(parked).toMatchObject({ parked: true, epoch: 1, qemuPid: null });
  const stoppedAtMs = parked.stoppedAtMs ?? 0;
  await expect.poll(() => Date.now() - stoppedAtMs, { timeout: 20_000 }).toBeGreaterThan(6_000);
  expect(await target.resume(vmId, 'parked', 2)).toEqual({ kind: 'taken' });
  expect(await target.resume(vmId, 'parked', 2)).toEqual({ kind: 'taken' });
  const here = await target.vm(vmId, ({ phase }) => phase === 'idle');
  expect(here.epoch).toBe(2);
  await target.restart();
  const skewMs = async () => Math.abs(Number(await target.run(vmId, 'date +%s%3N')) - Date.now());
  await expect.poll(skewMs, { timeout: 10_000 }).toBeLessThan(2_000);
  expect(await target.run(vmId, HASH)).toBe(hashes);
  await untilCounting(target, vmId, before);
  // What was parked once does not come back again where it ran since.
  await target.vm(vmId, ({ tracking }) => tracking !== undefined);
  await checkpoint(target, vmId);
  expect(await source.resume(vmId, 'parked', 3)).toEqual({ kind: 'taken' });
  expect(await source.vm(vmId, ({ epoch, parked: p }) => epoch === 3 && p === true)).toBeDefined();
});

test('a parking that fails after it was taken is told, and the guest has a clean log of its clock', async () => {
  await using s3 = await startS3();
  await using world = await StoreWorld.open(s3.spec);
  const source = await world.host('s');
  const vmId = await source.start();
  await source.run(vmId, PREPARE);
  const before = await count(source, vmId);
  s3.proxy.decide = () => ({ kind: 'hang' });
  expect(await source.park(vmId, 2, 12_000)).toEqual({ kind: 'taken' });
  expect(source.report(vmId)).toMatchObject({ parking: { epoch: 2, failed: null } });
  const after = await source.vm(vmId, ({ parking }) => typeof parking?.failed === 'string');
  expect(after).toMatchObject({ phase: 'idle', parking: { epoch: 2 } });
  await untilCounting(source, vmId, before);
  s3.proxy.decide = () => ({ kind: 'pass' });
  await source.restart();
  const skewMs = async () => Math.abs(Number(await source.run(vmId, 'date +%s%3N')) - Date.now());
  await expect.poll(skewMs, { timeout: 10_000 }).toBeLessThan(2_000);
  expect(await source.run(vmId, 'journalctl -b --no-pager | grep -i hwclock || true')).toBe('');
});

type Journal = Parameters<TestJournals['write']>[0];
const isParking = ({ parking, ended }: Journal) => parking !== undefined && ended === null;
const isEnd = ({ ended }: Journal) => ended !== null;

test.each<[string, 'before' | 'after', (journal: Journal) => boolean, 'here' | 'parked']>([
  ['before it is journalled', 'before', isParking, 'here'],
  ['before it is visible', 'after', isParking, 'here'],
  ['before its end is journalled', 'before', isEnd, 'parked'],
  ['when its end is journalled', 'after', isEnd, 'parked'],
])('an agent that dies while it parks a VM: %s', async (_what, when, at, outcome) => {
  await using world = await StoreWorld.open();
  const source = await world.host('s');
  const target = await world.host('t');
  const vmId = await source.start();
  await source.run(vmId, PREPARE);
  const before = await count(source, vmId);
  source.journals[when] = at;
  void source.park(vmId, 2);
  await source.journals.halted;
  await source.restart();
  expect(await target.resume(vmId, 'parked', 2)).toEqual({ kind: 'taken' });
  if (outcome === 'here') {
    await source.vm(vmId, ({ phase }) => phase === 'idle');
    await untilCounting(source, vmId, before);
    const refused = await target.vm(vmId, ({ parked }) => parked === true);
    expect(refused.why).toMatch(/nothing of this VM|not where it was parked/);
  } else {
    const parked = { phase: 'stopped', parked: true };
    expect(await source.vm(vmId, ({ phase }) => phase === 'stopped')).toMatchObject(parked);
    await target.vm(vmId, ({ phase }) => phase === 'idle');
    await target.restart();
    await untilCounting(target, vmId, before);
  }
});

test('a store that is gone: the guest runs on, tracked, and a parking is refused', async () => {
  await using world = await StoreWorld.open();
  const source = await world.host('s');
  const vmId = await source.start();
  await source.run(vmId, PREPARE);
  await rename(world.storeDir, `${world.storeDir}.away`);
  await writeFile(world.storeDir, 'no folder any more');
  const before = await count(source, vmId);
  expect(await source.park(vmId, 2)).toMatchObject({ kind: 'refused' });
  await untilCounting(source, vmId, before);
  // The same request again has failed already; the next one may be luckier.
  expect(await source.park(vmId, 2)).toMatchObject({ kind: 'refused' });
  await rm(world.storeDir);
  await rename(`${world.storeDir}.away`, world.storeDir);
  await source.vm(vmId, ({ tracking }) => tracking !== undefined);
  expect(await source.park(vmId, 3)).toEqual({ kind: 'taken' });
  await source.vm(vmId, ({ parked }) => parked === true);
});
