/** The prepared image, booted on this machine without a host-agent around it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import {
  connectGuestAgent,
  type GuestAgent,
} from '../../../host-agent/vm/guest-agent/guest-agent.ts';
import { connectQmp, type QmpClient } from '../../../host-agent/vm/qmp/qmp-client.ts';
import type { PreparedImage } from './prepared-image.ts';

const CONNECT_MS = 30_000;
const BOOT_MS = 240_000;
const PING_MS = 2_000;

export interface ColdGuest {
  readonly agent: GuestAgent;
  readonly qmp: QmpClient;
  /** Standard output of a command in the guest's shell; throws when it fails. */
  sh(command: string): Promise<string>;
}

/** Boots a throw-away clone; gives it with a function that ends it and removes every file. */
export async function bootColdGuest(image: PreparedImage) {
  const dir = await mkdtemp(join(tmpdir(), 'cold-guest-'));
  const disk = join(dir, 'disk.qcow2');
  const base = join(image.dir, 'disk.raw');
  await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', disk]);
  const qemu = execa('qemu-system-x86_64', guestArguments({ image, dir, disk }), { reject: false });
  const stop = async () => {
    qemu.kill('SIGKILL');
    await qemu;
    await rm(dir, { recursive: true, force: true });
  };
  try {
    return { guest: await connect(dir), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function connect(dir: string): Promise<ColdGuest> {
  const connecting = AbortSignal.timeout(CONNECT_MS);
  const qmp = await connectQmp(join(dir, 'qmp'), connecting);
  const agent = await connectGuestAgent(join(dir, 'agent'), connecting);
  const deadlineMs = performance.now() + BOOT_MS;
  while (!(await answers(agent))) {
    if (performance.now() > deadlineMs) throw new Error('the guest did not boot');
  }
  const sh = async (command: string) => {
    const exec = { path: '/bin/bash', args: ['-c', command], timeoutMs: 60_000 };
    const { exitCode, stdout, stderr } = await agent.exec(exec);
    if (exitCode !== 0) throw new Error(`${command}: exit code ${exitCode}: ${stderr}`);
    return stdout.trim();
  };
  return { agent, qmp, sh };
}

const answers = (agent: GuestAgent) =>
  agent.ping(PING_MS).then(
    () => true,
    () => false,
  );

function guestArguments(guest: {
  readonly image: PreparedImage;
  readonly dir: string;
  readonly disk: string;
}): string[] {
  const { image, dir, disk } = guest;
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    // Linux takes places for hot-plugged processors for firmware bugs where it sees no hypervisor
    // that it knows (arch/x86/kernel/acpi/boot.c), and it does not know TCG. It knows VMware by the
    // serial number and the port that QEMU emulates.
    ...['-machine', 'pc-q35-8.2,accel=tcg,vmport=on', '-cpu', 'qemu64,-hypervisor'],
    ...['-smbios', 'type=1,serial=VMware-56'],
    ...['-smp', '1,maxcpus=4', '-m', '512M,slots=2,maxmem=8G'],
    ...['-kernel', join(image.dir, 'vmlinuz'), '-initrd', join(image.dir, 'initrd')],
    ...['-append', `root=/dev/vda ${image.artifact.kernelArguments}`],
    ...['-drive', `if=none,id=disk,file=${disk},format=qcow2`],
    ...['-device', 'virtio-blk-pci,drive=disk', '-device', 'virtio-rng-pci'],
    ...['-netdev', 'user,id=net,restrict=on', '-device', 'virtio-net-pci,netdev=net'],
    ...['-device', 'virtio-serial-pci', '-serial', 'null'],
    ...['-chardev', `socket,id=agent,path=${join(dir, 'agent')},server=on,wait=off`],
    ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
    ...['-qmp', `unix:${join(dir, 'qmp')},server=on,wait=off`],
  ];
}
