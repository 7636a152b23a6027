/**
 * The machine of a VM: its folder, its limits, its QEMU. The same for a VM that starts from its
 * template and for one that ran elsewhere, which brings what was plugged into it.
 */
import { chmod, chown, mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageArtifact, TemplateArtifact } from '../protocol/artifact.ts';
import { cgroupOf, ensureCgroup, probeCgroup } from './cgroup.ts';
import { type LaunchedQemu, launchQemu } from './launch.ts';
import { type QemuSpec, qemuArguments } from './qemu-arguments.ts';
import { qemuUser } from './qemu-user.ts';
import type { VmStart } from './vm-driver.ts';
import { VmStartError } from './vm-errors.ts';
import { IMAGE_DISK, TEMPLATE_DISK_DELTA, TEMPLATE_MEMORY, type VmFiles } from './vm-files.ts';

export interface Artifacts {
  readonly image: ImageArtifact;
  readonly template: TemplateArtifact;
  /** Size of the image's disk, which the guest's grows from. */
  readonly imageBytes: number;
}

/** Rejects with VmStartError when a folder holds no such artifact. */
export async function readArtifacts({ imageDir, templateDir }: VmStart): Promise<Artifacts> {
  const [image, template, { size: imageBytes }] = await Promise.all([
    readArtifact(imageDir, ImageArtifact),
    readArtifact(templateDir, TemplateArtifact),
    stat(join(imageDir, IMAGE_DISK)),
  ]);
  return { image, template, imageBytes };
}

async function readArtifact<T>(
  dir: string,
  schema: { readonly parse: (value: unknown) => T },
): Promise<T> {
  try {
    return schema.parse(JSON.parse(await readFile(join(dir, 'artifact.json'), 'utf8')));
  } catch (cause) {
    throw new VmStartError(`The artifact in ${dir} cannot be read.`, { cause });
  }
}

/**
 * Makes the VM's folders, lets `fill` put root's files into them, and hands QEMU's over to its user.
 * After that root creates nothing below QEMU's own folder: its user may put links there.
 */
export async function withVmFolder(
  { vmId }: Pick<VmStart, 'vmId'>,
  files: VmFiles,
  fill: () => Promise<unknown>,
): Promise<void> {
  const user = qemuUser(vmId);
  await mkdir(files.qemuDir, { recursive: true });
  await mkdir(files.agentDir, { recursive: true });
  await Promise.all([chmod(files.dir, 0o711), chmod(files.agentDir, 0o711)]);
  await fill();
  await chmod(files.qemuDir, 0o700);
  await chown(files.qemuDir, user, user);
}

/** Sets the limits and starts QEMU, which then waits. Rejects with VmStartError or CgroupError. */
export async function launchMachine({
  spec,
  files,
  artifacts,
  ...how
}: {
  readonly spec: VmStart;
  readonly files: VmFiles;
  readonly artifacts: Artifacts;
} & Pick<QemuSpec, 'mode' | 'plugged' | 'generationId'>): Promise<LaunchedQemu> {
  const { imageDir, templateDir, network, fleet } = spec;
  const procsFiles = await limitResources(spec);
  const qemuArgs = qemuArguments({
    ...how,
    shape: artifacts.template.shape,
    memoryPath: join(templateDir, TEMPLATE_MEMORY),
    diskChain: [files.overlay, join(templateDir, TEMPLATE_DISK_DELTA), join(imageDir, IMAGE_DISK)],
    imageDir,
    kernelArguments: artifacts.image.kernelArguments,
    qmpSocket: files.qmpSocket,
    guestAgentSocket: files.guestAgentSocket,
    tapName: network.tapName,
  });
  const user = qemuUser(spec.vmId);
  const { log: logPath } = files;
  return launchQemu({ fleet, user, netnsPath: network.netnsPath, qemuArgs, procsFiles, logPath });
}

async function limitResources(spec: VmStart): Promise<readonly string[]> {
  const plan = cgroupOf(spec, await probeCgroup());
  await ensureCgroup(plan);
  return plan.procsFiles;
}
