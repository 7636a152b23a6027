/**
 * VM spec → QEMU's arguments. Capture and clones must get the same machine, or the device state does
 * not load (FACTS); only where memory and disk come from, and whether QEMU waits for state, differ.
 *
 * Fixed by design: always `-S` (nothing runs before the agent says so), a pinned machine type, no
 * defaults, QEMU's sandbox, block nodes with names (they are resized and tracked by name),
 * free root ports (PCI hot-plug), one MAC for all guests (each has its own network namespace).
 */

import { join } from 'node:path';
import { z } from 'zod';
import type { MachineShape } from '../protocol/artifact.ts';
import { GUEST_AGENT_PORT, GUEST_MAC } from '../protocol/guest-contract.ts';
import type { Accelerator } from '../protocol/host-facts.ts';

/** The block node that the guest's disk shows. */
export const OVERLAY_NODE = 'overlay';
/** Id of the guest's disk, as BLOCK_IO_ERROR names it. */
export const DISK_DEVICE = 'disk0';
/** Main memory's backend and, in a migration stream, its block. */
export const MEMORY_BACKEND = 'm0';
export const HOT_PLUG_PORTS = 4;
/** What a guest writes to its console is kept in a ring of this size: it may write forever. */
export const CONSOLE_RING_BYTES = 65_536;
export const CONSOLE_CHARDEV = 'console0';

/**
 * A kernel that boots with one CPU patches itself for that, and back when a second one comes: under
 * TCG that alone is 200 ms. Measuring each further CPU's delay loop is as long again, so it is told:
 * what a time-stamp counter of 2.5 GHz gives at 250 Hz, near enough for delays of emulated devices.
 */
const QUICK_SWITCH_ON = 'noreplace-smp lpj=10000000';

/** What was plugged into the machine since its start: a QEMU that takes it over begins with it. */
export const PluggedHardware = z.object({
  /** Sizes of the DIMMs, in the order of their slots: `dimm1` on `m1`, … */
  dimmsMib: z.array(z.int().min(1)).max(64),
  cpus: z
    .array(z.object({ driver: z.string().max(100), props: z.record(z.string(), z.int()) }))
    .max(256),
});
export type PluggedHardware = Readonly<z.infer<typeof PluggedHardware>>;

export interface QemuSpec {
  readonly shape: MachineShape;
  /**
   * `start`: copy-on-write from a template's memory, waits for its state. `arrive`: the same, for a
   * machine that ran elsewhere. `capture`: cold boot.
   */
  readonly mode: 'start' | 'arrive' | 'capture';
  /** With `arrive`: what the machine had besides its template's. */
  readonly plugged?: PluggedHardware;
  /** The VM generation id; a move keeps it. Unset: a new one. */
  readonly generationId?: string;
  readonly memoryPath: string;
  /** The overlay first, then what it stands on; the last one is the image's raw disk. */
  readonly diskChain: readonly string[];
  readonly imageDir: string;
  readonly kernelArguments: string;
  readonly qmpSocket: string;
  readonly guestAgentSocket: string;
  readonly tapName: string;
}

export function qemuArguments(spec: QemuSpec): string[] {
  return [
    '-nodefaults',
    '-no-user-config',
    ...['-display', 'none'],
    '-S',
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-action', 'reboot=shutdown,shutdown=poweroff,panic=shutdown'],
    ...machine(spec.shape),
    ...memory(spec),
    ...kernel(spec),
    ...disk(spec),
    ...['-netdev', `tap,id=net0,ifname=${spec.tapName},script=no,downscript=no,vhost=off`],
    ...['-device', `virtio-net-pci,id=nic0,netdev=net0,mac=${GUEST_MAC},romfile=`],
    ...['-device', 'virtio-rng-pci,id=rng0'],
    ...['-device', `vmgenid,guid=${spec.generationId ?? 'auto'}`],
    ...guestAgentPort(spec.guestAgentSocket),
    ...['-chardev', `ringbuf,id=${CONSOLE_CHARDEV},size=${CONSOLE_RING_BYTES}`],
    ...['-serial', `chardev:${CONSOLE_CHARDEV}`],
    ...rootPorts(),
    ...plugged(spec.plugged ?? { dimmsMib: [], cpus: [] }),
    ...['-qmp', `unix:${spec.qmpSocket},server=on,wait=off`],
    ...(spec.mode === 'capture' ? [] : ['-incoming', 'defer']),
  ];
}

/**
 * No guest here uses system management mode, and with it each vCPU has an address space of its own:
 * QEMU builds them all anew for each of the some 40 changes that loading a machine's devices makes
 * (memory.c, address_space_set_flatview), two thirds of the time that loading eight vCPUs takes.
 */
function machine(shape: MachineShape): string[] {
  const accelerator = shape.accelerator === 'tcg' ? 'tcg' : 'kvm';
  const options = `accel=${accelerator},smm=off,memory-backend=${MEMORY_BACKEND}`;
  return [
    ...['-machine', `${shape.machineType},${options}`],
    ...['-cpu', cpuOption(shape.cpuModel, shape.accelerator)],
    ...[
      '-smp',
      `${shape.cpuGrowth === 'offline' ? shape.maxVcpus : shape.vcpus},maxcpus=${shape.maxVcpus}`,
    ],
    '-m',
    `size=${shape.memoryMib}M,slots=${shape.memorySlots},maxmem=${shape.maxMemoryMib}M`,
  ];
}

/** PVM does not know the ARCH_CAPABILITIES register (FACTS). */
function cpuOption(model: string, accelerator: Accelerator): string {
  return accelerator === 'pvm' ? `${model},-arch-capabilities` : model;
}

function memory({ mode, memoryPath, shape }: QemuSpec): string[] {
  const share = mode === 'capture' ? 'on' : 'off';
  const backend = `memory-backend-file,id=${MEMORY_BACKEND},size=${shape.memoryMib}M,share=${share}`;
  // Clones read the template's file and never write it: their pages are private copies.
  const access = mode === 'capture' ? '' : ',readonly=on,rom=off';
  return ['-object', `${backend},mem-path=${memoryPath}${access}`];
}

function kernel({ imageDir, kernelArguments, shape }: QemuSpec): string[] {
  const switching = shape.cpuGrowth === 'offline' ? ` ${QUICK_SWITCH_ON}` : '';
  const cpus = `maxcpus=${shape.vcpus}${switching}`;
  return [
    ...['-kernel', join(imageDir, 'vmlinuz')],
    ...['-initrd', join(imageDir, 'initrd')],
    // A guest that panics reboots at once, and a reboot ends the VM.
    ...['-append', `root=/dev/vda ${kernelArguments} panic=-1 ${cpus}`],
  ];
}

/**
 * A host's disk error stops the guest and raises BLOCK_IO_ERROR, so that the driver can end the VM
 * with the cause; passed on, it would turn up as a broken file system in a job that looks alive.
 *
 * A VM's overlay is never synced: it does not outlive its host's kernel, whatever the guest flushes,
 * and `stop` would wait for the host's disk. What a capture writes is a template's.
 */
function disk({ diskChain, mode }: QemuSpec): string[] {
  const [overlay = '', ...bases] = diskChain;
  const cache = { 'no-flush': mode !== 'capture' };
  const node = {
    driver: 'qcow2',
    'node-name': OVERLAY_NODE,
    discard: 'unmap',
    cache,
    file: { driver: 'file', 'node-name': 'overlay-file', filename: overlay, cache },
    backing: baseNode(bases),
  };
  const policy = 'werror=stop,rerror=stop';
  return [
    ...['-blockdev', JSON.stringify(node)],
    ...['-device', `virtio-blk-pci,id=${DISK_DEVICE},drive=${OVERLAY_NODE},${policy}`],
  ];
}

interface BaseNode {
  readonly driver: 'qcow2' | 'raw';
  readonly 'read-only': true;
  readonly file: object;
  readonly backing?: BaseNode;
}

function baseNode([path = '', ...below]: readonly string[]): BaseNode {
  const file = { driver: 'file', filename: path, 'read-only': true };
  if (below.length === 0) return { driver: 'raw', 'read-only': true, file };
  return { driver: 'qcow2', 'read-only': true, file, backing: baseNode(below) };
}

function guestAgentPort(socket: string): string[] {
  return [
    ...['-device', 'virtio-serial-pci,id=serial0'],
    ...['-chardev', `socket,id=qga0,path=${socket},server=on,wait=off`],
    ...['-device', `virtserialport,chardev=qga0,name=${GUEST_AGENT_PORT}`],
  ];
}

function rootPorts(): string[] {
  return Array.from({ length: HOT_PLUG_PORTS }, (_, index) => [
    '-device',
    `pcie-root-port,id=port${index},chassis=${index + 1},slot=${index + 1}`,
  ]).flat();
}

/** The same ids as hot-plug gives them (growth.ts): they name memory blocks and devices in a stream. */
function plugged({ dimmsMib, cpus }: PluggedHardware): string[] {
  return [
    ...dimmsMib.flatMap((sizeMib, index) => [
      ...['-object', `memory-backend-ram,id=m${index + 1},size=${sizeMib}M,reserve=off`],
      ...['-device', `pc-dimm,id=dimm${index + 1},memdev=m${index + 1}`],
    ]),
    ...cpus.flatMap(({ driver, props }, index) => [
      '-device',
      [driver, `id=cpu-${index + 1}`, ...Object.entries(props).map(([k, v]) => `${k}=${v}`)].join(),
    ]),
  ];
}
