/** The same image in the same machine, booted instead of cloned: what a template saves. */
import { chmod, chown, mkdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  artifactFolder,
  ImageArtifact,
  TemplateArtifact,
} from '../../../host-agent/protocol/artifact.ts';
import {
  connectGuestAgent,
  type GuestAgent,
} from '../../../host-agent/vm/guest-agent/guest-agent.ts';
import { killQemu, launchQemu } from '../../../host-agent/vm/launch.ts';
import { createOverlay } from '../../../host-agent/vm/overlay.ts';
import { qemuArguments } from '../../../host-agent/vm/qemu-arguments.ts';
import { qemuUser } from '../../../host-agent/vm/qemu-user.ts';
import { connectQmp } from '../../../host-agent/vm/qmp/qmp-client.ts';
import { IMAGE_DISK, vmFiles } from '../../../host-agent/vm/vm-files.ts';
import type { BenchHost } from './bench-host.ts';
import type { ColdBootMeasured } from './host-messages.ts';

const VM_ID = 'vm-coldboot';
const USER = qemuUser(VM_ID);
const BOOT_LIMIT_MS = 300_000;
const PING_MS = 1_000;
const KILL_LIMIT_MS = 10_000;

export interface ColdBoot {
  readonly host: BenchHost;
  readonly fleet: string;
  readonly homeDir: string;
  readonly dir: string;
  readonly signal: AbortSignal;
}

/** From QEMU's spawn to the guest agent's first answer, and until systemd has settled. */
export async function measureColdBoot(boot: ColdBoot): Promise<ColdBootMeasured> {
  const { host, dir } = boot;
  const files = vmFiles(join(dir, VM_ID));
  try {
    const network = await host.networks.ensure(VM_ID);
    const qemuArgs = await prepare(boot, network.tapName);
    const spawnedAtMs = performance.now();
    const { netnsPath } = network;
    const { log: logPath } = files;
    const launch = { fleet: boot.fleet, netnsPath, qemuArgs, procsFiles: [], logPath, user: USER };
    const qemu = await launchQemu(launch);
    try {
      return await watchBoot(boot, spawnedAtMs);
    } finally {
      await killQemu(qemu, KILL_LIMIT_MS);
    }
  } finally {
    await host.networks.destroy(VM_ID);
    await rm(files.dir, { recursive: true, force: true });
  }
}

/** Its memory is anonymous in effect, as a clone's is: private pages over an empty file. */
async function prepare({ host, homeDir, dir }: ColdBoot, tapName: string): Promise<string[]> {
  const files = vmFiles(join(dir, VM_ID));
  const folderOf = (digest: typeof host.pool.image) =>
    join(homeDir, 'artifacts', artifactFolder(digest));
  const imageDir = folderOf(host.pool.image);
  const { shape } = await readArtifact(folderOf(host.pool.template), TemplateArtifact);
  const { kernelArguments } = await readArtifact(imageDir, ImageArtifact);
  await mkdir(files.qemuDir, { recursive: true });
  await chmod(files.dir, 0o711);
  await chown(files.qemuDir, USER, USER);
  const memoryPath = join(files.qemuDir, 'memory');
  await writeFile(memoryPath, '', { mode: 0o644 });
  await truncate(memoryPath, shape.memoryMib * 1024 * 1024);
  const { size } = await stat(join(imageDir, IMAGE_DISK));
  await createOverlay(files.overlay, { sizeBytes: size, user: USER });
  const { qmpSocket, guestAgentSocket, overlay } = files;
  const diskChain = [overlay, join(imageDir, IMAGE_DISK)];
  const places = { memoryPath, diskChain, imageDir, qmpSocket, guestAgentSocket, tapName };
  const args = qemuArguments({ shape, mode: 'start', kernelArguments, ...places });
  // A start waits for a template's state; this one does not.
  const at = args.indexOf('-incoming');
  return args.toSpliced(at, at < 0 ? 0 : 2);
}

async function watchBoot(
  { dir, signal }: ColdBoot,
  spawnedAtMs: number,
): Promise<ColdBootMeasured> {
  const { qmpSocket, guestAgentSocket } = vmFiles(join(dir, VM_ID));
  const limit = AbortSignal.any([signal, AbortSignal.timeout(BOOT_LIMIT_MS)]);
  const qmp = await connectQmp(qmpSocket, limit);
  const guest = await connectGuestAgent(guestAgentSocket, limit);
  await qmp.run('cont');
  await untilAnswer(guest, limit);
  const answeredAtMs = performance.now() - spawnedAtMs;
  const settle = { path: '/bin/systemctl', args: ['is-system-running', '--wait'] };
  await guest.exec({ ...settle, timeoutMs: BOOT_LIMIT_MS });
  const settledAtMs = performance.now() - spawnedAtMs;
  guest.close();
  qmp.close();
  return { kind: 'cold-boot', answeredAtMs, settledAtMs };
}

async function untilAnswer(guest: GuestAgent, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const answered = await guest.ping(PING_MS).then(
      () => true,
      () => false,
    );
    if (answered) return;
  }
}

async function readArtifact<T>(
  dir: string,
  schema: { readonly parse: (value: unknown) => T },
): Promise<T> {
  return schema.parse(JSON.parse(await readFile(join(dir, 'artifact.json'), 'utf8')));
}
