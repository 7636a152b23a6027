/** Where a VM's files are. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { VmId } from '../protocol/ids.ts';

export interface VmFiles {
  readonly dir: string;
  /** Root's: the driver's memory of the VM across restarts of the agent. */
  readonly state: string;
  /** QEMU's own folder: it may write here and nowhere else. */
  readonly qemuDir: string;
  readonly overlay: string;
  readonly qmpSocket: string;
  readonly guestAgentSocket: string;
  /** Where a QEMU that waits for a machine's state listens, while it does. */
  readonly incomingSocket: string;
  /** QEMU's standard output and error. */
  readonly log: string;
  /** Root's: the agent's own ends of what QEMU streams to it. QEMU may pass through, not look. */
  readonly agentDir: string;
  readonly memorySocket: string;
  readonly diskSocket: string;
  readonly diskImage: string;
}

export function vmFiles(dir: string): VmFiles {
  const qemuDir = join(dir, 'qemu');
  const agentDir = join(dir, 'agent');
  return {
    dir,
    state: join(dir, 'state.json'),
    qemuDir,
    overlay: join(qemuDir, 'overlay.qcow2'),
    qmpSocket: join(qemuDir, 'qmp.sock'),
    guestAgentSocket: join(qemuDir, 'qga.sock'),
    incomingSocket: join(qemuDir, 'incoming.sock'),
    log: join(dir, 'qemu.log'),
    agentDir,
    memorySocket: join(agentDir, 'memory.sock'),
    diskSocket: join(agentDir, 'disk.sock'),
    diskImage: join(agentDir, 'disk.image'),
  };
}

/** VMs that have a folder there, whatever is in it. */
export async function listVmFolders(vmsDir: string): Promise<readonly VmId[]> {
  const names = await readdir(vmsDir);
  return names.map((name) => VmId.safeParse(name).data).filter((vmId) => vmId !== undefined);
}

/** The read-only base inside an image artifact. */
export const IMAGE_DISK = 'disk.raw';

/** File names inside a template artifact. */
export const TEMPLATE_MEMORY = 'memory';
export const TEMPLATE_DEVICE_STATE = 'device-state';
/** What the template's boot wrote, on top of the image; the clones' overlays stand on it. */
export const TEMPLATE_DISK_DELTA = 'disk-delta.qcow2';
