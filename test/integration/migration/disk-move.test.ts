/** The disk's part of a move: last pulse in `pre-switchover`, overlay filled under a waiting QEMU. */

import { readFileSync } from 'node:fs';
import { chmod, chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import {
  attachDiskTracking,
  markDiskWrites,
  pulseDisk,
} from '../../../host-agent/migration/disk/disk-tracking.ts';
import { OverlayFile } from '../../../host-agent/migration/disk/overlay-file.ts';
import { ImageArtifact, TemplateArtifact } from '../../../host-agent/protocol/artifact.ts';
import { connectGuestAgent } from '../../../host-agent/vm/guest-agent/guest-agent.ts';
import { killQemu, launchQemu } from '../../../host-agent/vm/launch.ts';
import { OVERLAY_NODE as node, qemuArguments } from '../../../host-agent/vm/qemu-arguments.ts';
import { qemuUser } from '../../../host-agent/vm/qemu-user.ts';
import { connectQmp } from '../../../host-agent/vm/qmp/qmp-client.ts';
import type { VmStart } from '../../../host-agent/vm/vm-driver.ts';
import {
  IMAGE_DISK,
  TEMPLATE_DISK_DELTA,
  TEMPLATE_MEMORY,
  vmFiles,
} from '../../../host-agent/vm/vm-files.ts';
import { TestFleet, untilIdle } from '../vm/test-vm.ts';
import { compareDisks, DiskVm, diskChain, fillAll, untilStatus } from './disk-vm.ts';
import { holdStream, replayStream } from './held-stream.ts';

const CONNECT_MS = 20_000;

/** A QEMU of the same template that waits for a migration; the overlay is there and empty. */
async function launchTarget(spec: VmStart, overlay: OverlayFile) {
  const read = (dir: string) => JSON.parse(readFileSync(join(dir, 'artifact.json'), 'utf8'));
  const files = vmFiles(spec.vmDir);
  const user = qemuUser(spec.vmId);
  await chown(overlay.path, user, user);
  await chown(files.qemuDir, user, user);
  const qemu = await launchQemu({
    fleet: 'test',
    user,
    netnsPath: spec.network.netnsPath,
    procsFiles: [],
    logPath: files.log,
    qemuArgs: qemuArguments({
      shape: TemplateArtifact.parse(read(spec.templateDir)).shape,
      mode: 'start',
      memoryPath: join(spec.templateDir, TEMPLATE_MEMORY),
      diskChain: [
        overlay.path,
        join(spec.templateDir, TEMPLATE_DISK_DELTA),
        join(spec.imageDir, IMAGE_DISK),
      ],
      imageDir: spec.imageDir,
      kernelArguments: ImageArtifact.parse(read(spec.imageDir)).kernelArguments,
      qmpSocket: files.qmpSocket,
      guestAgentSocket: files.guestAgentSocket,
      tapName: spec.network.tapName,
    }),
  });
  const qmp = await connectQmp(files.qmpSocket, AbortSignal.timeout(CONNECT_MS));
  const signal = AbortSignal.timeout(CONNECT_MS);
  const guest = await connectGuestAgent(files.guestAgentSocket, signal);
  const stop = async () => {
    qmp.close();
    guest.close();
    await killQemu(qemu, CONNECT_MS);
  };
  return { qmp, guest, [Symbol.asyncDispose]: stop };
}

test('a disk moves: the last pulse before the switch-over, an overlay under a waiting QEMU', async () => {
  await using fleet = await TestFleet.create();
  const started = await fleet.start({ diskGib: 2 });
  await untilIdle(started.driver);
  await using vm = await DiskVm.take(started);
  const { qmp, image } = vm;
  await attachDiskTracking(qmp, { node, exportSocket: vm.export.socketPath, lacks: 'marked' });
  await vm.run('head -c 16M /dev/urandom > /root/early; sync');
  await pulseDisk(qmp, { node });

  const spec = await fleet.spec({ diskGib: 2 });
  const files = vmFiles(spec.vmDir);
  await mkdir(files.qemuDir, { recursive: true });
  await chmod(files.dir, 0o711);
  const overlay = await OverlayFile.create({ path: files.overlay, sizeBytes: image.sizeBytes });
  const changes = image.watch();
  await fillAll(overlay, image, changes);
  await using target = await launchTarget(spec, overlay);

  const user = qemuUser(vm.spec.vmId);
  const socketPath = join(vm.spec.vmDir, 'stream.sock');
  using held = await holdStream(qmp, { socketPath, user });
  await untilStatus(qmp, 'active');
  const sums = await vm.run('head -c 2M /dev/urandom > /root/late; sync; cd /root; sha256sum *');
  await fillAll(overlay, image, changes);
  await qmp.run('stop');
  await untilStatus(qmp, 'pre-switchover');
  const last = await pulseDisk(qmp, { node });
  expect(last.bytes).toBeGreaterThan(2 * 1024 * 1024);
  console.log(`pre-switchover pulse: ${last.bytes / 65_536} clusters in ${last.ms.toFixed(1)} ms`);
  await fillAll(overlay, image, changes);
  const before = performance.now();
  await overlay.finish();
  console.log(`overlay finished in ${(performance.now() - before).toFixed(1)} ms`);
  await qmp.run('migrate-continue', { state: 'pre-switchover' });
  const stream = await held.whole;
  await untilStatus(qmp, 'completed');
  await compareDisks(
    diskChain(vm.spec, vmFiles(vm.spec.vmDir).overlay),
    diskChain(spec, overlay.path),
  );

  const incoming = join(files.qemuDir, 'incoming.sock');
  await target.qmp.run('migrate-incoming', { uri: `unix:${incoming}` });
  const feeding = await replayStream(incoming, stream);
  await untilStatus(target.qmp, 'completed');
  feeding.destroy();
  await markDiskWrites(target.qmp, node);
  await target.qmp.run('cont');
  const exec = async (script: string) => {
    const run = { path: '/bin/bash', args: ['-ec', script], timeoutMs: 120_000 };
    const { exitCode, stdout, stderr } = await target.guest.exec(run);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    return stdout.trim();
  };
  await exec('echo 3 > /proc/sys/vm/drop_caches');
  expect(await exec('cd /root; sha256sum *')).toBe(sums);
  await exec(
    'cp /root/early /root/copy; rm /root/late; sync; fstrim /; cmp /root/early /root/copy',
  );
  await target.qmp.run('stop');
  await execa('qemu-img', ['check', '-U', '-f', 'qcow2', overlay.path]);
});

test('a migration that completes leaves bitmap and export as they were: a checkpoint', async () => {
  await using fleet = await TestFleet.create();
  const started = await fleet.start({ diskGib: 2 });
  await untilIdle(started.driver);
  await using vm = await DiskVm.take(started);
  const { qmp } = vm;
  await attachDiskTracking(qmp, { node, exportSocket: vm.export.socketPath, lacks: 'marked' });
  await pulseDisk(qmp, { node });
  const user = qemuUser(vm.spec.vmId);
  const socketPath = join(vm.spec.vmDir, 'stream.sock');
  using held = await holdStream(qmp, { socketPath, user });
  await qmp.run('stop');
  await untilStatus(qmp, 'pre-switchover');
  await pulseDisk(qmp, { node });
  await qmp.run('migrate-continue', { state: 'pre-switchover' });
  await held.whole;
  await untilStatus(qmp, 'completed');
  await qmp.run('cont');
  await vm.run('head -c 1M /dev/urandom > /root/after; sync');
  const { bytes } = await pulseDisk(qmp, { node });
  expect(bytes).toBeGreaterThan(1024 * 1024);
  expect(bytes).toBeLessThan(64 * 1024 * 1024);
});
