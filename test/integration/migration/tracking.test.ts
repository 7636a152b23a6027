/** A held migration on a real QEMU: what is in the image, and where each ending leaves the guest. */
import { createHash, randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { RANGE_PAGES } from '../../../host-agent/migration/image/block-image.ts';
import { chooseCold } from '../../../host-agent/migration/tracking/choose-cold.ts';
import { cancelHold, finishHeld } from '../../../host-agent/migration/tracking/held-migration.ts';
import type { StreamEnd } from '../../../host-agent/migration/tracking/memory-tracker.ts';
import { TestFleet } from '../vm/test-vm.ts';
import { limit, TrackedVm } from './tracked-vm.ts';

const FRESH_PULSES = 12;
const HOT_BYTES = 2 * 1024 * 1024;
const COLD_BYTES = 24 * 1024 * 1024;
const DIMM_BYTES = 128 * 1024 * 1024;

/** The guest computes it, so it is nowhere in its memory before. */
async function writeFreshMark(vm: TrackedVm): Promise<string> {
  const seed = randomUUID();
  await vm.run(`echo -n ${seed} | sha256sum > /dev/shm/${seed}`);
  return createHash('sha256').update(seed).digest('hex');
}

/** Stops the guest and takes all of it, as a move does. */
async function leave(vm: TrackedVm): Promise<StreamEnd> {
  const { tracker, qmp } = vm;
  await tracker.pulse(limit());
  await tracker.drain(({ isFresh }) => (isFresh ? 'enough' : undefined), limit());
  await qmp.run('stop');
  const [end] = await Promise.all([
    tracker.finish(limit()).then((all) => {
      tracker.shut();
      return all;
    }),
    finishHeld(qmp, { beforeContinue: async () => undefined, signal: limit() }),
  ]);
  return end;
}

async function expectEqual(vm: TrackedVm, blocks: readonly string[]): Promise<void> {
  const compared = await vm.compare();
  expect(compared.different).toEqual([]);
  expect(compared.blocks).toEqual(expect.arrayContaining([...blocks]));
}

test('a pulse has all that the guest wrote before it, and the end is the guest, byte for byte', async () => {
  await using fleet = await TestFleet.create();
  await using vm = await TrackedVm.start(fleet);
  const tracker = await vm.hold();
  const first = await tracker.pulse(limit());
  for (let pulse = 0; pulse < FRESH_PULSES; pulse += 1) {
    const mark = await writeFreshMark(vm);
    const { pages } = await tracker.pulse(limit());
    expect(vm.pagesWith(mark).length).toBeGreaterThan(0);
    expect(pages).toBeLessThan(first.pages / 4);
  }
  const { prologue, deviceState } = await leave(vm);
  expect(await vm.state()).toEqual({ migration: 'completed', guest: 'postmigrate' });
  expect([prologue.length, deviceState.length].every((length) => length > 100)).toBe(true);
  await expectEqual(vm, ['m0', 'pc.bios']);
  // Most of the guest is still as in the template, and takes no memory.
  expect(vm.image.ownPages).toBeLessThan(0.25 * first.pages);
  await vm.qmp.run('cont');
  expect(await vm.run('echo alive')).toBe('alive');
});

test('what is written again and again is hot, the rest is cold', async () => {
  await using fleet = await TestFleet.create();
  await using vm = await TrackedVm.start(fleet);
  let nowMs = 1_000;
  const tracker = await vm.hold(() => nowMs);
  const write = (name: string, bytes: number, version: number) =>
    `yes ${name}-is-written-${version} | head -c ${bytes} | dd of=/dev/shm/${name} conv=notrunc bs=64k iflag=fullblock status=none`;
  await vm.run(write('cold', COLD_BYTES, 0));
  nowMs += 1_000;
  await tracker.pulse(limit());
  const pageName = ({ block, page }: { block: number; page: number }) => `${block}:${page}`;
  let again: Set<string> | undefined;
  for (let version = 1; version <= 10; version += 1) {
    await vm.run(write('hot', HOT_BYTES, version));
    nowMs += 1_000;
    await tracker.pulse(limit());
    // A pipe's buffer holds the text once and is then free: only the file's pages have each version.
    const written = vm.pagesWith(`hot-is-written-${version}\n`).map(pageName);
    again = new Set(written.filter((page) => again?.has(page) ?? true));
  }
  nowMs += 6_000;
  vm.image.advancePulse(nowMs);
  const sealed = new Set<string>();
  for (const { index } of vm.image.blocks) {
    const [...candidates] = new Set(
      vm
        .pagesWith('-is-written-')
        .flatMap(({ block, page }) => (block === index ? [Math.floor(page / RANGE_PAGES)] : [])),
    );
    const heat = vm.image.heatOf(index);
    const chosen = chooseCold({ candidates, heat, tick: vm.image.tick, limit: 10_000 });
    for (const { range, hotPages } of chosen) if (hotPages === 0) sealed.add(`${index}:${range}`);
  }
  const isSealed = ({ block, page }: { block: number; page: number }) =>
    sealed.has(`${block}:${Math.floor(page / RANGE_PAGES)}`);
  const hot = vm.pagesWith('hot-is-written-10').filter((page) => again?.has(pageName(page)));
  const cold = vm.pagesWith('cold-is-written-0');
  expect(hot.length).toBeGreaterThanOrEqual(HOT_BYTES / 4096);
  expect(hot.filter(isSealed).length).toBeLessThan(0.02 * hot.length);
  expect(cold.filter(isSealed).length).toBeGreaterThan(0.85 * cold.length);
});

test('tracking is suspended for hot-plug and goes on, costing only what differs', async () => {
  await using fleet = await TestFleet.create();
  await using vm = await TrackedVm.start(fleet);
  await (await vm.hold()).pulse(limit());
  await cancelHold(vm.qmp);
  expect((await vm.state()).guest).toBe('running');
  vm.tracker.close();
  const seen = vm.image.watch();
  const dimm = { 'qom-type': 'memory-backend-ram', id: 'm1', size: DIMM_BYTES };
  await vm.qmp.run('object-add', dimm);
  await vm.qmp.run('device_add', { driver: 'pc-dimm', id: 'dimm1', memdev: 'm1' });
  const tracker = await vm.hold();
  const mark = await writeFreshMark(vm);
  const { pages, changedPages } = await tracker.pulse(limit());
  expect(vm.pagesWith(mark).length).toBeGreaterThan(0);
  expect(changedPages).toBeLessThan(0.25 * pages);
  expect(vm.image.blocks.map(({ name }) => name)).toEqual(expect.arrayContaining(['m0', 'm1']));
  const m1 = vm.image.blocks.find(({ name }) => name === 'm1');
  // The guest writes its bookkeeping into a DIMM that comes online: the watcher hears of it.
  expect(seen[m1?.index ?? -1]?.capacity).toBe(DIMM_BYTES / 4096);
  await leave(vm);
  await expectEqual(vm, ['m0', 'm1', 'pc.bios']);
});

test('a cancelled pulse loses nothing', async () => {
  await using fleet = await TestFleet.create();
  await using vm = await TrackedVm.start(fleet);
  const tracker = await vm.hold();
  const gone = new AbortController();
  const pulse = tracker.pulse(gone.signal);
  await expect.poll(() => vm.image.ownPages).toBeGreaterThan(0);
  gone.abort(new Error('not now'));
  await expect(pulse).rejects.toThrow('not now');
  const mark = await writeFreshMark(vm);
  await tracker.pulse(limit());
  expect(vm.pagesWith(mark).length).toBeGreaterThan(0);
  await leave(vm);
  await expectEqual(vm, ['m0']);
});

test('a broken stream leaves a guest that ran running, and one that was stopped paused', async () => {
  await using fleet = await TestFleet.create();
  await using vm = await TrackedVm.start(fleet);
  await (await vm.hold()).pulse(limit());
  vm.tracker.close();
  await expect.poll(() => vm.state()).toEqual({ migration: 'failed', guest: 'running' });
  expect(await vm.run('echo alive')).toBe('alive');

  // Stopped: QEMU may be waiting before the switch-over, where it does not notice.
  await (await vm.hold()).pulse(limit());
  await vm.qmp.run('stop');
  vm.tracker.close();
  await cancelHold(vm.qmp);
  expect((await vm.state()).guest).toBe('paused');
  await vm.qmp.run('cont');

  // Stopped, all of the device state out, and no `shut`: the worst moment.
  const tracker = await vm.hold();
  await tracker.pulse(limit());
  await vm.qmp.run('stop');
  const finishing = finishHeld(vm.qmp, { beforeContinue: async () => undefined, signal: limit() });
  await Promise.all([
    tracker.finish(limit()).then(() => tracker.close()),
    expect(finishing).rejects.toThrow('failed'),
  ]);
  await expect.poll(() => vm.state()).toEqual({ migration: 'failed', guest: 'paused' });
  await vm.qmp.run('cont');
  expect(await vm.run('echo alive')).toBe('alive');

  // A caller that gives up before anything left: cancelled, paused, and the guest goes on.
  await (await vm.hold()).pulse(limit());
  await vm.qmp.run('stop');
  const refuse = async () => {
    throw new Error('the disk could not be flushed');
  };
  const draining = vm.tracker.finish(limit());
  await Promise.all([
    expect(finishHeld(vm.qmp, { beforeContinue: refuse, signal: limit() })).rejects.toThrow(
      'flushed',
    ),
    cancelLater(vm, draining),
  ]);
  expect((await vm.state()).guest).toBe('paused');
  await vm.qmp.run('cont');
  expect(await vm.run('echo alive')).toBe('alive');
});

async function cancelLater(vm: TrackedVm, draining: Promise<StreamEnd>): Promise<void> {
  await expect.poll(async () => (await vm.state()).migration).toBe('pre-switchover');
  await Promise.all([cancelHold(vm.qmp), expect(draining).rejects.toThrow('ended')]);
}

test('QEMU that nobody answers is given up, and the guest runs on', async () => {
  await using fleet = await TestFleet.create();
  await using vm = await TrackedVm.start(fleet);
  const { holdMigration } = await import(
    '../../../host-agent/migration/tracking/held-migration.ts'
  );
  const socketPath = '/nowhere/stream.sock';
  await expect(holdMigration(vm.qmp, { socketPath, signal: limit() })).rejects.toThrow();
  expect((await vm.state()).guest).toBe('running');
  await (await vm.hold()).pulse(limit());
});
