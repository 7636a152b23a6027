/** A real VM whose disk is tracked: its export, its image, and the tools to compare disks. */
import { join } from 'node:path';
import { execa } from 'execa';
import { expect } from 'vitest';
import { z } from 'zod';
import { DiskImage } from '../../../host-agent/migration/disk/disk-image.ts';
import { NbdServer } from '../../../host-agent/migration/disk/nbd-server.ts';
import { OverlayFile } from '../../../host-agent/migration/disk/overlay-file.ts';
import { fillOverlay } from '../../../host-agent/migration/disk/overlay-fill.ts';
import type { ChangeSet } from '../../../host-agent/migration/image/change-set.ts';
import {
  connectGuestAgent,
  type GuestAgent,
} from '../../../host-agent/vm/guest-agent/guest-agent.ts';
import { OVERLAY_NODE } from '../../../host-agent/vm/qemu-arguments.ts';
import { qemuUser } from '../../../host-agent/vm/qemu-user.ts';
import { connectQmp, type QmpClient } from '../../../host-agent/vm/qmp/qmp-client.ts';
import type { VmStart } from '../../../host-agent/vm/vm-driver.ts';
import { IMAGE_DISK, TEMPLATE_DISK_DELTA, vmFiles } from '../../../host-agent/vm/vm-files.ts';
import { type TestVm, untilSaved } from '../vm/test-vm.ts';

const CONNECT_MS = 20_000;
const GUEST_MS = 120_000;
const FILL_LIMIT = 256;

export class DiskVm implements AsyncDisposable {
  readonly spec: VmStart;
  readonly qmp: QmpClient;
  readonly guest: GuestAgent;
  readonly image: DiskImage;
  export: NbdServer;

  private constructor(parts: Pick<DiskVm, 'spec' | 'qmp' | 'guest' | 'image' | 'export'>) {
    this.spec = parts.spec;
    this.qmp = parts.qmp;
    this.guest = parts.guest;
    this.image = parts.image;
    this.export = parts.export;
  }

  /** Takes a VM that is idle over from its driver. */
  static async take({ driver, spec }: TestVm): Promise<DiskVm> {
    driver.detach();
    await untilSaved(spec, driver);
    const files = vmFiles(spec.vmDir);
    const qmp = await connectQmp(files.qmpSocket, AbortSignal.timeout(CONNECT_MS));
    const signal = AbortSignal.timeout(CONNECT_MS);
    const guest = await connectGuestAgent(files.guestAgentSocket, signal);
    const image = await DiskImage.create({
      path: join(spec.vmDir, 'disk-image'),
      sizeBytes: await readDiskBytes(qmp),
    });
    return new DiskVm({ spec, qmp, guest, image, export: await openExport(spec, image) });
  }

  async reopenExport(): Promise<void> {
    await this.export.close();
    this.export = await openExport(this.spec, this.image);
  }

  async run(script: string): Promise<string> {
    const exec = { path: '/bin/bash', args: ['-ec', script], timeoutMs: GUEST_MS };
    const { exitCode, stdout, stderr } = await this.guest.exec(exec);
    if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${stdout} ${stderr}`);
    return stdout.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.qmp.close();
    this.guest.close();
    await this.export.close();
    await this.image.close();
  }
}

async function openExport(spec: VmStart, image: DiskImage): Promise<NbdServer> {
  const socketPath = join(spec.vmDir, 'export.sock');
  return NbdServer.listen({ socketPath, image, user: qemuUser(spec.vmId) });
}

export async function readDiskBytes(qmp: QmpClient): Promise<number> {
  const node = z.object({
    'node-name': z.string(),
    image: z.object({ 'virtual-size': z.number() }),
  });
  const nodes = await qmp.call({ command: 'query-named-block-nodes', answer: z.array(node) });
  return nodes.find((each) => each['node-name'] === OVERLAY_NODE)?.image['virtual-size'] ?? 0;
}

/** The disk that a guest of this spec sees through this overlay, for qemu-img. */
export function diskChain(spec: VmStart, overlay: string): string {
  const file = (filename: string) => ({ driver: 'file', filename });
  const raw = { driver: 'raw', file: file(join(spec.imageDir, IMAGE_DISK)) };
  const delta = {
    driver: 'qcow2',
    file: file(join(spec.templateDir, TEMPLATE_DISK_DELTA)),
    backing: raw,
  };
  return `json:${JSON.stringify({ driver: 'qcow2', file: file(overlay), backing: delta })}`;
}

/** Of one disk that QEMU may have open, with its guest stopped, and another. */
export async function compareDisks(a: string, b: string): Promise<void> {
  await execa('qemu-img', ['compare', '-U', a, b]);
}

export async function fillAll(overlay: OverlayFile, image: DiskImage, changes: ChangeSet) {
  while ((await fillOverlay(overlay, { image, changes, limit: FILL_LIMIT })) > 0) {
    await overlay.flush();
  }
}

/** A whole new overlay of all that the image has, checked by qemu-img. */
export async function buildOverlay(image: DiskImage, path: string): Promise<void> {
  const overlay = await OverlayFile.create({ path, sizeBytes: image.sizeBytes });
  const changes = image.watch();
  await fillAll(overlay, image, changes);
  image.unwatch(changes);
  await overlay.finish();
  await execa('qemu-img', ['check', '-f', 'qcow2', path]);
}

export async function untilStatus(qmp: QmpClient, wanted: string): Promise<void> {
  const answer = z.object({ status: z.string().optional() });
  const read = async () => (await qmp.call({ command: 'query-migrate', answer })).status;
  await expect.poll(read, { interval: 1, timeout: GUEST_MS }).toBe(wanted);
}
