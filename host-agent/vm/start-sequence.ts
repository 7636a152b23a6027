/**
 * From a VM's folder to a guest that answers:
 *
 *   folder, overlay, cgroup, state on disk → QEMU launched → QMP and guest port connected → device
 *   state loaded → cont → guest answers → identity renewed → hardware of the class plugged
 *
 * The guest brings online what is plugged beside the runner's start, and lets no step run before it
 * has all that its class promises (guest-contract.ts).
 *
 * The caller hears of each step as it happens, and of the process before anything waits for it, so
 * that it can end it whenever it likes. On failure nothing is undone here: the driver's ending does.
 */
import { chmod, chown, mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { markDiskWrites } from '../migration/disk/disk-tracking.ts';
import { ImageArtifact, TemplateArtifact } from '../protocol/artifact.ts';
import { ensureCgroup, planCgroup, probeCgroup } from './cgroup.ts';
import { type GrowthPlan, growDisk, planGrowth, plugHardware, readCpuSlots } from './growth.ts';
import { connectGuestAgent, type GuestAgent } from './guest-agent/guest-agent.ts';
import { renewIdentity } from './guest-steps.ts';
import { type LaunchedQemu, launchQemu } from './launch.ts';
import { loadDeviceState } from './migration-file.ts';
import { createOverlay } from './overlay.ts';
import { OVERLAY_NODE, qemuArguments } from './qemu-arguments.ts';
import { qemuUser } from './qemu-user.ts';
import { connectQmp, type QmpClient } from './qmp/qmp-client.ts';
import type { StartTimes, VmStart } from './vm-driver.ts';
import { VmStartError } from './vm-errors.ts';
import {
  IMAGE_DISK,
  TEMPLATE_DEVICE_STATE,
  TEMPLATE_DISK_DELTA,
  TEMPLATE_MEMORY,
  type VmFiles,
} from './vm-files.ts';

const LOAD_TIMEOUT_MS = 30_000;
const FIRST_ANSWER_TIMEOUT_MS = 60_000;

export interface StartHooks {
  /** Resolves when the VM's existence is on disk: nothing is launched before. */
  readonly remember: () => Promise<void>;
  readonly onTime: (name: keyof StartTimes) => void;
  readonly onLaunched: (qemu: LaunchedQemu) => void;
  readonly onConnected: (connections: Connections) => void;
}

export interface Connections {
  readonly qmp: QmpClient;
  readonly guest: GuestAgent;
}

export interface StartRequest {
  readonly spec: VmStart;
  readonly files: VmFiles;
  readonly hooks: StartHooks;
  readonly signal: AbortSignal;
}

/**
 * Resolves with the guest's kernel release when it may be given a job. Rejects with VmStartError or
 * what broke.
 */
export async function runStartSequence(request: StartRequest): Promise<string> {
  const { hooks, signal } = request;
  const artifacts = await prepare(request);
  signal.throwIfAborted();
  const qemu = await launch(request, artifacts);
  hooks.onLaunched(qemu);
  hooks.onTime('spawnedAtMs');
  const connections = await connectVm(request.files, signal);
  hooks.onTime('qmpReadyAtMs');
  hooks.onConnected(connections);
  const { qmp, guest } = connections;
  const path = join(request.spec.templateDir, TEMPLATE_DEVICE_STATE);
  await loadDeviceState(qmp, { path, timeoutMs: LOAD_TIMEOUT_MS });
  signal.throwIfAborted();
  await markDiskWrites(qmp, OVERLAY_NODE);
  await qmp.run('cont');
  hooks.onTime('loadedAtMs');
  await guest.ping(FIRST_ANSWER_TIMEOUT_MS);
  hooks.onTime('guestAnsweredAtMs');
  signal.throwIfAborted();
  const growth = await planFor(request.spec, artifacts, qmp);
  await growDisk(qmp, growth);
  const guestKernel = await renewIdentity(guest, request.spec);
  signal.throwIfAborted();
  await plugHardware(qmp, growth);
  return guestKernel;
}

/** Connects to a QEMU that runs or is about to listen. The signal is the time limit. */
export async function connectVm(files: VmFiles, signal: AbortSignal): Promise<Connections> {
  const qmp = await connectQmp(files.qmpSocket, signal);
  try {
    return { qmp, guest: await connectGuestAgent(files.guestAgentSocket, signal) };
  } catch (error) {
    qmp.close();
    throw error;
  }
}

interface Artifacts {
  readonly image: ImageArtifact;
  readonly template: TemplateArtifact;
  readonly diskBytes: number;
  readonly procsFiles: readonly string[];
}

async function prepare({ spec, files, hooks }: StartRequest): Promise<Artifacts> {
  const user = qemuUser(spec.vmId);
  await mkdir(files.qemuDir, { recursive: true });
  await chmod(files.dir, 0o711);
  const { size: diskBytes } = await stat(join(spec.imageDir, IMAGE_DISK));
  const [image, template, procsFiles] = await Promise.all([
    readArtifact(spec.imageDir, ImageArtifact),
    readArtifact(spec.templateDir, TemplateArtifact),
    limitResources(spec),
    createOverlay(files.overlay, { sizeBytes: diskBytes, user }),
    hooks.remember(),
  ]);
  // Last: from here on QEMU's user may put links there, so root creates nothing below any more.
  await chmod(files.qemuDir, 0o700);
  await chown(files.qemuDir, user, user);
  return { image, template, diskBytes, procsFiles };
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

async function limitResources(spec: VmStart): Promise<readonly string[]> {
  const version = await probeCgroup();
  const plan = planCgroup({ version, fleet: spec.fleet, vmId: spec.vmId, class: spec.class });
  await ensureCgroup(plan);
  return plan.procsFiles;
}

async function launch(
  { spec, files }: StartRequest,
  { image, template, procsFiles }: Artifacts,
): Promise<LaunchedQemu> {
  const { imageDir, templateDir, network, fleet } = spec;
  const user = qemuUser(spec.vmId);
  const qemuArgs = qemuArguments({
    shape: template.shape,
    mode: 'start',
    memoryPath: join(templateDir, TEMPLATE_MEMORY),
    diskChain: [files.overlay, join(templateDir, TEMPLATE_DISK_DELTA), join(imageDir, IMAGE_DISK)],
    imageDir,
    kernelArguments: image.kernelArguments,
    qmpSocket: files.qmpSocket,
    guestAgentSocket: files.guestAgentSocket,
    tapName: network.tapName,
  });
  const { log: logPath } = files;
  return launchQemu({ fleet, user, netnsPath: network.netnsPath, qemuArgs, procsFiles, logPath });
}

async function planFor(spec: VmStart, artifacts: Artifacts, qmp: QmpClient): Promise<GrowthPlan> {
  const plan = planGrowth({
    shape: artifacts.template.shape,
    class: spec.class,
    slots: await readCpuSlots(qmp),
    diskBytes: artifacts.diskBytes,
  });
  if (plan.kind === 'refused') throw new VmStartError(`The VM cannot be grown: ${plan.why}.`);
  return plan;
}
