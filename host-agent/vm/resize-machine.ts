/**
 * A running VM's machine gets another size, while nobody tracks it:
 *
 *   limits of the larger size ─▶ CPUs, a DIMM plugged ─▶ the guest has them on ─▶ limits of the new one
 *
 * Smaller: the guest switches CPUs off, and its share of the host's shrinks. CPUs stay plugged, since a
 * guest gives them back at its leisure, and so does memory, whose pages a kernel has spread things over.
 * What was plugged is remembered device by device: whoever takes the VM over must build the same.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineShape } from '../protocol/artifact.ts';
import type { Refused } from '../protocol/errors.ts';
import type { InstanceClass } from '../protocol/instance-class.ts';
import { cgroupOf, ensureCgroup, probeCgroup } from './cgroup.ts';
import { type CpuSlot, type GrowthPlan, planGrowth, plugHardware, readCpuSlots } from './growth.ts';
import type { GuestAgent } from './guest-agent/guest-agent.ts';
import { readArtifacts } from './machine.ts';
import type { VmDriver, VmMachine, VmStart } from './vm-driver.ts';
import { VmResizeError } from './vm-errors.ts';

/** Of coreutils: writes the same to many files. */
const TEE_PATH = '/usr/bin/tee';
const TEE_LIMIT_MS = 10_000;
/** For a guest's kernel to see what was plugged. */
const GUEST_LIMIT_MS = 60_000;
const POLL_MS = 100;
/** What a kernel counts of its memory is a little less than what it has. */
const COUNTED = 0.9;
const MAX_WHY = 300;

/**
 * Rejects with VmResizeError, QMP's, the guest's or the signal's reason; the VM then has some size up to
 * the larger one.
 */
export async function resizeMachine(
  driver: VmDriver,
  size: InstanceClass,
  signal: AbortSignal,
): Promise<void> {
  const live = driver.live();
  if (live === undefined) throw new VmResizeError('The VM is over.');
  const { machine, qmp, guest } = live;
  const { spec } = live.memory;
  const { shape } = (await readArtifacts(spec)).template;
  const larger = largerOf(spec.class, size);
  const slots = await readCpuSlots(qmp);
  const plan = planFurtherGrowth({ shape, class: larger, machine, slots });
  if (plan.kind === 'refused') throw new VmResizeError(`It cannot be so large: ${plan.why}.`);
  await limitTo(spec, larger);
  const countedMib = await readMemoryMib(guest);
  const plugged = await plugHardware(qmp, plan, {
    before: machine.plugged,
    onPlugged: (so) => driver.resized({ class: larger, plugged: so }),
  });
  const present =
    shape.cpuGrowth === 'offline' ? shape.maxVcpus : shape.vcpus + plugged.cpus.length;
  await switchCpus({ guest, signal }, { on: size.vcpus, present });
  await awaitMemory({ guest, signal }, countedMib + plan.dimmMib * COUNTED);
  await limitTo(spec, size);
  await driver.resized({ class: size, plugged });
}

/** Of two sizes of one VM, as much of each as either has. */
export function largerOf(one: InstanceClass, other: InstanceClass): InstanceClass {
  return {
    ...one,
    vcpus: Math.max(one.vcpus, other.vcpus),
    memoryMib: Math.max(one.memoryMib, other.memoryMib),
  };
}

/** As `planGrowth`, from what a machine has been given since its template. Pure. */
export function planFurtherGrowth(request: {
  readonly shape: MachineShape;
  readonly class: InstanceClass;
  readonly machine: Pick<VmMachine, 'plugged' | 'diskBytes'>;
  readonly slots: readonly CpuSlot[];
}): GrowthPlan | Refused {
  const { shape, machine, slots } = request;
  const { dimmsMib, cpus } = machine.plugged;
  return planGrowth({
    shape: {
      ...shape,
      vcpus: shape.vcpus + cpus.length,
      memoryMib: dimmsMib.reduce((sum, mib) => sum + mib, shape.memoryMib),
      memorySlots: shape.memorySlots - dimmsMib.length,
    },
    class: request.class,
    slots,
    diskBytes: machine.diskBytes,
  });
}

async function limitTo(spec: VmStart, size: InstanceClass): Promise<void> {
  await ensureCgroup(cgroupOf({ ...spec, class: size }, await probeCgroup()));
}

interface Waiting {
  readonly guest: GuestAgent;
  readonly signal: AbortSignal;
}

/** The first one cannot be switched. What is still on its way has no file yet. */
async function switchCpus(
  waiting: Waiting,
  { on, present }: { readonly on: number; readonly present: number },
): Promise<void> {
  const paths = (from: number, to: number) =>
    Array.from(
      { length: Math.max(0, to - from) },
      (_, n) => `/sys/devices/system/cpu/cpu${from + n}/online`,
    );
  await writeInGuest(waiting, '1', paths(1, on));
  await writeInGuest(waiting, '0', paths(on, present));
}

async function writeInGuest(
  { guest, signal }: Waiting,
  text: string,
  files: readonly string[],
): Promise<void> {
  if (files.length === 0) return;
  const endMs = performance.now() + GUEST_LIMIT_MS;
  for (;;) {
    const exec = { path: TEE_PATH, args: files, stdin: text, timeoutMs: TEE_LIMIT_MS };
    const { exitCode, stderr } = await guest.exec(exec);
    if (exitCode === 0) return;
    if (performance.now() > endMs) {
      const why = stderr.trim().slice(0, MAX_WHY);
      throw new VmResizeError(`The guest could not switch its CPUs: ${why}`);
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}

async function awaitMemory({ guest, signal }: Waiting, wantedMib: number): Promise<void> {
  const endMs = performance.now() + GUEST_LIMIT_MS;
  while ((await readMemoryMib(guest)) < wantedMib) {
    if (performance.now() > endMs)
      throw new VmResizeError('The guest’s kernel does not take the memory.');
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** What the guest's kernel counts as its own; 0 when it does not say. */
async function readMemoryMib(guest: GuestAgent): Promise<number> {
  const text = (await guest.readFile('/proc/meminfo')) ?? '';
  return Number(/^MemTotal: +(\d+) kB$/m.exec(text)?.[1] ?? 0) / 1024;
}
