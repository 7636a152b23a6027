/** A guest's disk on its way into the agent's image and into a new overlay, with real QEMU. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DiskTrackingError } from '../../../host-agent/migration/disk/disk-errors.ts';
import {
  attachDiskTracking,
  detachDiskTracking,
  pulseDisk,
} from '../../../host-agent/migration/disk/disk-tracking.ts';
import { OVERLAY_NODE as node } from '../../../host-agent/vm/qemu-arguments.ts';
import { vmFiles } from '../../../host-agent/vm/vm-files.ts';
import { TestFleet, untilIdle } from '../vm/test-vm.ts';
import { buildOverlay, compareDisks, DiskVm, diskChain } from './disk-vm.ts';

async function start(fleet: TestFleet, diskGib = 3): Promise<DiskVm> {
  const vm = await fleet.start({ diskGib });
  await untilIdle(vm.driver);
  return DiskVm.take(vm);
}

/** The guest stops; what the image has, over the template, is what the guest sees. */
async function expectSame(vm: DiskVm): Promise<void> {
  await vm.qmp.run('stop');
  await pulseDisk(vm.qmp, { node });
  const path = join(vm.spec.vmDir, 'built.qcow2');
  await buildOverlay(vm.image, path);
  const original = diskChain(vm.spec, vmFiles(vm.spec.vmDir).overlay);
  await compareDisks(original, diskChain(vm.spec, path));
}

/** Large files of the image that nothing runs from: their clusters have content in the template. */
const VICTIMS =
  "$(find / -xdev -type f -size +512k ! -perm /111 ! -name '*.so*' ! -path '/root/*' ! -path '/var/*' | head -n 2)";

test('what a guest writes, zeroes and discards is in the image, pulse by pulse', async () => {
  await using fleet = await TestFleet.create();
  await using vm = await start(fleet);
  const { export: server, qmp } = vm;
  await attachDiskTracking(qmp, { node, exportSocket: server.socketPath, lacks: 'marked' });
  const first = await pulseDisk(qmp, { node });
  expect(first.bytes).toBeGreaterThan(0);
  await vm.run('head -c 8M /dev/urandom > /root/kept; head -c 24M /dev/urandom > /root/gone; sync');
  await pulseDisk(qmp, { node });
  await vm.run(`
    rm /root/gone
    head -c 1M /dev/zero | dd of=/root/kept bs=64k seek=16 conv=notrunc,fsync status=none
    fallocate --punch-hole --offset 2M --length 2M /root/kept
    set -- ${VICTIMS}
    dd if=/dev/zero of=$1 bs=64k count=8 conv=notrunc,fsync status=none
    [ -n "$2" ]
    rm $2
    sync
    fstrim /`);
  await expectSame(vm);
  const states = Array.from({ length: vm.image.clusters }, (_, at) => vm.image.stateOf(at));
  expect(states.filter((state) => state === 'zero').length).toBeGreaterThan(16);
  expect(states.filter((state) => state === 'own').length).toBeGreaterThan(64);
});

test('a pulse that is cancelled, or loses its export, loses nothing', async () => {
  await using fleet = await TestFleet.create();
  await using vm = await start(fleet);
  const { qmp } = vm;
  const exportSocket = vm.export.socketPath;
  await attachDiskTracking(qmp, { node, exportSocket, lacks: 'marked' });
  await vm.run('head -c 64M /dev/urandom > /root/a; sync');
  const cancelled = AbortSignal.timeout(1);
  await pulseDisk(qmp, { node, signal: cancelled }).catch(() => undefined);
  await vm.export.close();
  await vm.run('head -c 4M /dev/urandom > /root/b; sync');
  await expect(pulseDisk(qmp, { node })).rejects.toThrow(DiskTrackingError);
  await vm.reopenExport();
  await attachDiskTracking(qmp, { node, exportSocket, lacks: 'marked' });
  await expectSame(vm);
});

test('a QEMU that was taken over is copied whole, and then by pulses', async () => {
  await using fleet = await TestFleet.create();
  await using vm = await start(fleet);
  const { qmp } = vm;
  const attach = { node, exportSocket: vm.export.socketPath };
  await vm.run('head -c 8M /dev/urandom > /root/a; sync; fstrim /');
  const whole = await attachDiskTracking(qmp, { ...attach, lacks: 'overlay' });
  expect(whole.bytes).toBeGreaterThan(8 * 1024 * 1024);
  await vm.run('head -c 1M /dev/urandom > /root/b; sync');
  // As the agent after a crash does, without knowing what the last one left.
  await attachDiskTracking(qmp, { ...attach, lacks: 'marked' });
  await expectSame(vm);
  await detachDiskTracking(qmp);
  await detachDiskTracking(qmp);
});

test('a disk that grows is tracked on by a larger export', async () => {
  await using fleet = await TestFleet.create();
  const { driver, spec } = await fleet.start({ diskGib: 2 });
  await untilIdle(driver);
  const small = await DiskVm.take({ driver, spec });
  const attach = { node, lacks: 'marked' } as const;
  await attachDiskTracking(small.qmp, { ...attach, exportSocket: small.export.socketPath });
  await small.run('head -c 1M /dev/urandom > /root/a; sync');
  await small.qmp.run('block_resize', { 'node-name': node, size: 3 * 1024 ** 3 });
  await expect(pulseDisk(small.qmp, { node })).rejects.toThrow('size');
  await detachDiskTracking(small.qmp);
  await small[Symbol.asyncDispose]();
  await using vm = await DiskVm.take({ driver, spec });
  const exportSocket = vm.export.socketPath;
  await attachDiskTracking(vm.qmp, { ...attach, exportSocket, lacks: 'overlay' });
  await vm.run('resize2fs /dev/vda; head -c 1M /dev/urandom > /root/b; sync');
  await expectSame(vm);
});
