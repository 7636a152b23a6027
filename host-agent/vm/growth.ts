/**
 * From the template's shape to the VM's class, by hot-plug, while the guest runs. The guest brings
 * online by itself what is plugged and what is there but offline (RenewIdentity's `size`), and lets
 * no step run before it has it all. The plan is pure; executing it twice fails: ids are taken.
 */
import { z } from 'zod';
import type { MachineShape } from '../protocol/artifact.ts';
import { type Refused, refused } from '../protocol/errors.ts';
import type { InstanceClass } from '../protocol/instance-class.ts';
import { OVERLAY_NODE, type PluggedHardware } from './qemu-arguments.ts';
import type { QmpClient } from './qmp/qmp-client.ts';

/** Linux on x86 brings memory online in blocks of this size. */
const DIMM_ALIGNMENT_MIB = 128;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const MAX_SLOTS = 1_024;

/** One place for a CPU, as `query-hotpluggable-cpus` shows it; free while it has no `qom-path`. */
export const CpuSlot = z.object({
  type: z.string().max(100),
  'qom-path': z.string().optional(),
  props: z.record(z.string(), z.int()),
});
export type CpuSlot = Readonly<z.infer<typeof CpuSlot>>;

export interface GrowthPlan {
  readonly kind: 'grow';
  readonly cpus: readonly { readonly driver: string; readonly props: CpuSlot['props'] }[];
  /** One DIMM, or none. */
  readonly dimmMib: number;
  readonly diskBytes: number;
}

/** Sizes are rounded up to what the hardware knows. A class smaller than the template stays at it. */
export function planGrowth(request: {
  readonly shape: MachineShape;
  readonly class: InstanceClass;
  readonly slots: readonly CpuSlot[];
  readonly diskBytes: number;
}): GrowthPlan | Refused {
  const { shape, slots } = request;
  const { vcpus, memoryMib, diskGib } = request.class;
  if (vcpus > shape.maxVcpus) return refused(`the template grows to ${shape.maxVcpus} CPUs only`);
  const missingMib = Math.max(0, memoryMib - shape.memoryMib);
  const dimmMib = Math.ceil(missingMib / DIMM_ALIGNMENT_MIB) * DIMM_ALIGNMENT_MIB;
  if (shape.memoryMib + dimmMib > shape.maxMemoryMib || (dimmMib > 0 && shape.memorySlots === 0)) {
    return refused(`the template grows to ${shape.maxMemoryMib} MiB of memory only`);
  }
  const missingCpus = Math.max(0, vcpus - shape.vcpus);
  const sizes = { dimmMib, diskBytes: Math.max(request.diskBytes, diskGib * GIB) };
  if (shape.cpuGrowth === 'offline') return { kind: 'grow', cpus: [], ...sizes };
  const free = slots.filter((slot) => slot['qom-path'] === undefined).toSorted(byTopology);
  if (free.length < missingCpus) return refused('the machine has too few free CPU places');
  return {
    kind: 'grow',
    cpus: free.slice(0, missingCpus).map(({ type, props }) => ({ driver: type, props })),
    ...sizes,
  };
}

const TOPOLOGY = ['socket-id', 'die-id', 'core-id', 'thread-id'] as const;

function byTopology(a: CpuSlot, b: CpuSlot): number {
  for (const key of TOPOLOGY) {
    const difference = (a.props[key] ?? 0) - (b.props[key] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

export async function readCpuSlots(qmp: QmpClient): Promise<readonly CpuSlot[]> {
  const answer = z.array(CpuSlot).max(MAX_SLOTS);
  return qmp.call({ command: 'query-hotpluggable-cpus', answer });
}

/** To be done before the guest renews its identity, which grows the file system. */
export async function growDisk(qmp: QmpClient, { diskBytes }: GrowthPlan): Promise<void> {
  await qmp.run('block_resize', { 'node-name': OVERLAY_NODE, size: diskBytes });
}

export interface Plugging {
  /** What was plugged since the template. */
  readonly before: PluggedHardware;
  /** Called after each device with all that is there by then. */
  readonly onPlugged: (plugged: PluggedHardware) => Promise<void>;
}

/**
 * Answers what the machine has now beyond its template. Rejects with a QMP error; the VM is then
 * partly grown.
 */
export async function plugHardware(
  qmp: QmpClient,
  plan: GrowthPlan,
  { before, onPlugged }: Plugging,
): Promise<PluggedHardware> {
  let plugged = before;
  for (const cpu of plan.cpus) {
    const id = `cpu-${plugged.cpus.length + 1}`;
    await qmp.run('device_add', { driver: cpu.driver, id, ...cpu.props });
    plugged = { ...plugged, cpus: [...plugged.cpus, cpu] };
    await onPlugged(plugged);
  }
  if (plan.dimmMib === 0) return plugged;
  await plugDimm(qmp, plan.dimmMib, plugged.dimmsMib.length + 1);
  plugged = { ...plugged, dimmsMib: [...plugged.dimmsMib, plan.dimmMib] };
  await onPlugged(plugged);
  return plugged;
}

/** Not reserved beforehand: the planner places by capacity, and the cgroup is the limit. */
async function plugDimm(qmp: QmpClient, dimmMib: number, place: number): Promise<void> {
  const id = `m${place}`;
  const size = dimmMib * MIB;
  await qmp.run('object-add', { 'qom-type': 'memory-backend-ram', id, size, reserve: false });
  try {
    await qmp.run('device_add', { driver: 'pc-dimm', id: `dimm${place}`, memdev: id });
  } catch (error) {
    await qmp.run('object-del', { id }).catch(() => undefined);
    throw error;
  }
}
