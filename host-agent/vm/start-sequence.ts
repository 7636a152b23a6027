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
import { join } from 'node:path';
import { z } from 'zod';
import { markDiskWrites } from '../migration/disk/disk-tracking.ts';
import { type GrowthPlan, growDisk, planGrowth, plugHardware, readCpuSlots } from './growth.ts';
import { connectGuestAgent, type GuestAgent } from './guest-agent/guest-agent.ts';
import { giveIpv6, renewIdentity } from './guest-steps.ts';
import type { LaunchedQemu } from './launch.ts';
import { type Artifacts, launchMachine, readArtifacts, withVmFolder } from './machine.ts';
import { loadDeviceState } from './migration-file.ts';
import { createOverlay } from './overlay.ts';
import { OVERLAY_NODE } from './qemu-arguments.ts';
import { qemuUser } from './qemu-user.ts';
import { connectQmp, type QmpClient } from './qmp/qmp-client.ts';
import type { StartTimes, VmMachine, VmStart } from './vm-driver.ts';
import { VmStartError } from './vm-errors.ts';
import { TEMPLATE_DEVICE_STATE, type VmFiles } from './vm-files.ts';

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

export interface StartedVm {
  /** The release that it says it runs. */
  readonly guestKernel: string;
  readonly machine: VmMachine;
}

/** Resolves when the guest may be given a job. Rejects with VmStartError or what broke. */
export async function runStartSequence(request: StartRequest): Promise<StartedVm> {
  const { hooks, signal, spec, files } = request;
  const artifacts = await readArtifacts(spec);
  await withVmFolder(spec, files, () =>
    Promise.all([
      createOverlay(files.overlay, {
        sizeBytes: artifacts.imageBytes,
        user: qemuUser(spec.vmId),
      }),
      hooks.remember(),
    ]),
  );
  signal.throwIfAborted();
  const qemu = await launchMachine({ spec, files, artifacts, mode: 'start' });
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
  await giveIpv6(guest, request.spec);
  signal.throwIfAborted();
  const before = { cpus: [], dimmsMib: [] };
  const plugged = await plugHardware(qmp, growth, { before, onPlugged: async () => undefined });
  const generationId = await readGenerationId(qmp);
  return { guestKernel, machine: { diskBytes: growth.diskBytes, plugged, generationId } };
}

/** QEMU's for the guest, as it is now. */
export async function readGenerationId(qmp: QmpClient): Promise<string> {
  const answer = z.object({ guid: z.guid() });
  return (await qmp.call({ command: 'query-vm-generation-id', answer })).guid;
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

async function planFor(spec: VmStart, artifacts: Artifacts, qmp: QmpClient): Promise<GrowthPlan> {
  const plan = planGrowth({
    shape: artifacts.template.shape,
    class: spec.class,
    slots: await readCpuSlots(qmp),
    diskBytes: artifacts.imageBytes,
  });
  if (plan.kind === 'refused') throw new VmStartError(`The VM cannot be grown: ${plan.why}.`);
  return plan;
}
