/**
 * A template: a guest that booted once, up to the point where a runner can take its configuration.
 *
 *   cold boot (memory in a shared file, disk in a delta on the image) → guest agent answers →
 *   systemd has settled → warm what a job needs first → sync → stop → device state to a file → quit
 *
 * Memory, device state and disk delta are one consistent point: the guest stopped after its last
 * write. The guest has no network at all and no identity worth keeping: clones renew theirs.
 * On failure nothing is left but the output folder, which the caller removes.
 */
import { chmod, chown, mkdir, open, rename, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import type { Logger } from 'pino';
import { hashFile } from '../artifacts/hash-file.ts';
import type { ImageArtifact, MachineShape, TemplateArtifact } from '../protocol/artifact.ts';
import type { Digest } from '../protocol/ids.ts';
import { connectGuestAgent, type GuestAgent } from './guest-agent/guest-agent.ts';
import { killQemu, launchQemu, readLastLogLine } from './launch.ts';
import { saveDeviceState } from './migration-file.ts';
import { createOverlay } from './overlay.ts';
import { qemuArguments } from './qemu-arguments.ts';
import { CAPTURE_USER } from './qemu-user.ts';
import { connectQmp, type QmpClient } from './qmp/qmp-client.ts';
import { TemplateCaptureError } from './vm-errors.ts';
import {
  IMAGE_DISK,
  TEMPLATE_DEVICE_STATE,
  TEMPLATE_DISK_DELTA,
  TEMPLATE_MEMORY,
  type VmFiles,
  vmFiles,
} from './vm-files.ts';

const CONNECT_TIMEOUT_MS = 20_000;
const BOOT_TIMEOUT_MS = 240_000;
const SETTLE_TIMEOUT_MS = 180_000;
const WARM_TIMEOUT_MS = 60_000;
const SAVE_TIMEOUT_MS = 60_000;
const KILL_TIMEOUT_MS = 5_000;
const NETWORK_TIMEOUT_MS = 5_000;
const PING_MS = 1_000;
/** Run once before the capture, so that every clone finds them in its page cache. */
const WARM_COMMANDS: readonly (readonly string[])[] = [
  ['/usr/local/bin/node', '-e', 'crypto.randomUUID(); fetch("http://127.0.0.1:9").catch(() => {})'],
  ['/bin/bash', '-c', 'true'],
  ['/bin/sh', '-c', 'git --version; python3 -c pass; sudo -n true; ip addr; true'],
  ['/bin/systemctl', 'is-system-running'],
];

export interface CaptureRequest {
  /** Folder with `disk.raw`, `vmlinuz`, `initrd`. Its parents must be traversable by CAPTURE_USER. */
  readonly imageDir: string;
  readonly imageDigest: Digest;
  readonly image: ImageArtifact;
  readonly shape: MachineShape;
  /** Made here, filled with the template's files. Same file system as `imageDir` is not needed. */
  readonly outDir: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly onProgress?: (what: string) => void;
}

/**
 * Captures a template into `outDir` and answers its artifact (the caller writes `artifact.json` and
 * publishes). Rejects with TemplateCaptureError, or the signal's reason; QEMU is gone either way.
 */
export async function captureTemplate(request: CaptureRequest): Promise<TemplateArtifact> {
  const { outDir, signal, logger } = request;
  const files = vmFiles(join(outDir, 'capture'));
  const netns = `ar-capture-${process.pid}`;
  await prepareFolders(request, files);
  await ensureCaptureNetwork(netns);
  try {
    const qemuVersion = await bootAndSave(request, { files, netns });
    await keepFiles(request, files);
    signal.throwIfAborted();
    request.onProgress?.('hashing the template');
    const artifact = await describe(request, qemuVersion);
    logger.info({ files: artifact.files.length, qemuVersion }, 'template captured');
    return artifact;
  } catch (cause) {
    signal.throwIfAborted();
    const lastLine = (await readLastLogLine(files.log)) ?? 'QEMU said nothing';
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new TemplateCaptureError(`The template could not be captured: ${message} (${lastLine})`, {
      cause,
    });
  } finally {
    await removeCaptureNetwork(netns);
    await rm(files.dir, { recursive: true, force: true });
  }
}

async function prepareFolders({ outDir, imageDir, shape }: CaptureRequest, files: VmFiles) {
  await mkdir(files.qemuDir, { recursive: true });
  await chmod(outDir, 0o755);
  await chmod(files.dir, 0o711);
  await chown(files.qemuDir, CAPTURE_USER, CAPTURE_USER);
  const { size } = await stat(join(imageDir, IMAGE_DISK));
  await createOverlay(files.overlay, { sizeBytes: size, user: CAPTURE_USER });
  const memory = join(files.qemuDir, TEMPLATE_MEMORY);
  await using file = await open(memory, 'w', 0o600);
  await truncate(memory, shape.memoryMib * 1024 * 1024);
  await file.chown(CAPTURE_USER, CAPTURE_USER);
}

async function bootAndSave(
  request: CaptureRequest,
  { files, netns }: { readonly files: VmFiles; readonly netns: string },
): Promise<string> {
  const qemu = await launchQemu({
    fleet: 'capture',
    user: CAPTURE_USER,
    netnsPath: `/run/netns/${netns}`,
    procsFiles: [],
    logPath: files.log,
    qemuArgs: qemuArguments({
      shape: request.shape,
      mode: 'capture',
      memoryPath: join(files.qemuDir, TEMPLATE_MEMORY),
      diskChain: [files.overlay, join(request.imageDir, IMAGE_DISK)],
      imageDir: request.imageDir,
      kernelArguments: request.image.kernelArguments,
      qmpSocket: files.qmpSocket,
      guestAgentSocket: files.guestAgentSocket,
      tapName: 'tap0',
    }),
  });
  try {
    const died = new AbortController();
    void qemu.ended.then((how) => died.abort(new TemplateCaptureError(`QEMU died: ${how}`)));
    const limit = AbortSignal.timeout(CONNECT_TIMEOUT_MS);
    const connecting = AbortSignal.any([request.signal, limit, died.signal]);
    const qmp = await connectQmp(files.qmpSocket, connecting);
    const guest = await connectGuestAgent(files.guestAgentSocket, connecting);
    await qmp.run('cont');
    await bootGuest(request, guest);
    guest.close();
    request.onProgress?.('saving memory and device state');
    return await saveAndQuit(qmp, files);
  } finally {
    await killQemu(qemu, KILL_TIMEOUT_MS);
  }
}

async function bootGuest({ signal, onProgress }: CaptureRequest, guest: GuestAgent) {
  onProgress?.('booting the guest');
  await waitForGuest(guest, signal);
  onProgress?.('waiting for the guest to settle');
  // Exit code 1 means `degraded`: a unit failed, which a clone without network shows as well.
  await guest.exec({
    path: '/bin/systemctl',
    args: ['is-system-running', '--wait'],
    timeoutMs: SETTLE_TIMEOUT_MS,
  });
  onProgress?.('warming what a job needs first');
  for (const [path = '', ...args] of WARM_COMMANDS) {
    signal.throwIfAborted();
    // A profile may lack one of them; then there is nothing to warm.
    await guest.exec({ path, args, timeoutMs: WARM_TIMEOUT_MS }).catch(() => undefined);
  }
  // A processor that was on once comes back in a fraction of the time: it is calibrated, and the
  // kernel has been patched for more than one.
  await guest.exec({
    path: '/bin/bash',
    args: [
      '-c',
      'for on in 1 0; do for cpu in /sys/devices/system/cpu/cpu[0-9]*/online; do echo $on > "$cpu"; done; done',
    ],
    timeoutMs: WARM_TIMEOUT_MS,
  });
  // In a clone udev's work would compete with the job's start: it waits until the clone is complete.
  await guest.exec({
    path: '/usr/bin/udevadm',
    args: ['control', '--stop-exec-queue'],
    timeoutMs: WARM_TIMEOUT_MS,
  });
  await guest.exec({ path: '/bin/sync', timeoutMs: WARM_TIMEOUT_MS });
}

async function waitForGuest(guest: GuestAgent, signal: AbortSignal): Promise<void> {
  const deadlineMs = performance.now() + BOOT_TIMEOUT_MS;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await guest.ping(PING_MS);
    } catch (cause) {
      if (performance.now() > deadlineMs) {
        throw new TemplateCaptureError('the guest agent never answered', { cause });
      }
      await delay(PING_MS / 10, undefined, { signal });
    }
  }
}

async function saveAndQuit(qmp: QmpClient, files: VmFiles): Promise<string> {
  await qmp.run('stop');
  const path = join(files.qemuDir, TEMPLATE_DEVICE_STATE);
  await saveDeviceState(qmp, { path, timeoutMs: SAVE_TIMEOUT_MS });
  await qmp.run('quit');
  await qmp.closed;
  return qmp.qemuVersion;
}

/** Moves the files out of QEMU's folder, read-only for everybody, the memory with its holes. */
async function keepFiles({ outDir }: CaptureRequest, files: VmFiles): Promise<void> {
  await rename(files.overlay, join(outDir, TEMPLATE_DISK_DELTA));
  for (const name of [TEMPLATE_MEMORY, TEMPLATE_DEVICE_STATE]) {
    await rename(join(files.qemuDir, name), join(outDir, name));
  }
  for (const name of [TEMPLATE_MEMORY, TEMPLATE_DEVICE_STATE, TEMPLATE_DISK_DELTA]) {
    await chown(join(outDir, name), 0, 0);
    await chmod(join(outDir, name), 0o644);
  }
}

async function describe(request: CaptureRequest, qemuVersion: string): Promise<TemplateArtifact> {
  const files = [];
  for (const name of [TEMPLATE_MEMORY, TEMPLATE_DEVICE_STATE, TEMPLATE_DISK_DELTA]) {
    files.push({ name, ...(await hashFile(join(request.outDir, name), request.signal)) });
  }
  return {
    kind: 'template',
    image: request.imageDigest,
    shape: request.shape,
    qemuVersion,
    files,
  };
}

/** A namespace with nothing but a tap in it: the same network card as a clone's, and no network. */
async function ensureCaptureNetwork(netns: string): Promise<void> {
  await removeCaptureNetwork(netns);
  const tap = ['tuntap', 'add', 'tap0', 'mode', 'tap', 'user', String(CAPTURE_USER)];
  await execa('ip', ['netns', 'add', netns], { timeout: NETWORK_TIMEOUT_MS });
  await execa('ip', ['-n', netns, ...tap], { timeout: NETWORK_TIMEOUT_MS });
  await execa('ip', ['-n', netns, 'link', 'set', 'tap0', 'up'], { timeout: NETWORK_TIMEOUT_MS });
}

async function removeCaptureNetwork(netns: string): Promise<void> {
  await execa('ip', ['netns', 'delete', netns], { timeout: NETWORK_TIMEOUT_MS, reject: false });
}
