/**
 * A VM's limits as cgroup files. The plan is pure, for v1 and v2; the executor writes it. v2's
 * controllers do not exist on every development machine: there only the plan for v2 is tested.
 */
import { constants } from 'node:fs';
import { access, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type InstanceClass, leastMemoryMib } from '../protocol/instance-class.ts';
import type { VmStart } from './vm-driver.ts';
import { CgroupError } from './vm-errors.ts';

const ROOT = '/sys/fs/cgroup';
const CPU_PERIOD_US = 100_000;
/** Less the kernel does not take (kernel/sched/core.c, min_cfs_quota_period). */
const MIN_CPU_QUOTA_US = 1_000;
/** The kernel's own, of a group that nothing was said about: v1's and v2's. */
const USUAL_SHARES = 1_024;
const USUAL_WEIGHT = 100;
/** v2 takes no weight above 10,000. */
const FIRST_WEIGHT = 100;
/** QEMU's own threads (I/O, migration) beside the vCPUs'. */
const EXTRA_CPU_FRACTION = 0.25;
/** QEMU itself, its caches and page tables; under TCG also the translation buffer. */
const OVERHEAD_MIB = 512;
const OVERHEAD_FRACTION = 0.05;
const MAX_TASKS_BASE = 64;
const REMOVE_TRIES = 100;
const REMOVE_PAUSE_MS = 10;

export type CgroupVersion = 'v1' | 'v2' | 'none';

export interface CgroupPlan {
  /** Created in this order, removed in the reverse one. */
  readonly dirs: readonly string[];
  readonly writes: readonly { readonly file: string; readonly value: string }[];
  /** The VM's process id is written to each. */
  readonly procsFiles: readonly string[];
}

export interface CgroupRequest {
  readonly version: CgroupVersion;
  readonly fleet: string;
  /** The group's name in the fleet's. */
  readonly place: string;
  readonly class: InstanceClass;
}

export function planCgroup(request: CgroupRequest): CgroupPlan {
  const memoryBytes = memoryLimitBytes(request.class.memoryMib);
  const quotaUs = quotaUsOf(request.class, 1);
  const tasks = MAX_TASKS_BASE + request.class.vcpus * 4;
  const group = join('architect', request.fleet, request.place);
  if (request.version === 'none') return { dirs: [], writes: [], procsFiles: [] };
  if (request.version === 'v2') return planV2({ group, memoryBytes, quotaUs, tasks });
  return planV1({ group, memoryBytes, quotaUs, tasks });
}

export function memoryLimitBytes(memoryMib: number): number {
  return Math.ceil(memoryMib * (1 + OVERHEAD_FRACTION) + OVERHEAD_MIB) * 1024 * 1024;
}

function quotaUsOf({ vcpus }: InstanceClass, share: number): number {
  const quotaUs = Math.round(vcpus * (1 + EXTRA_CPU_FRACTION) * CPU_PERIOD_US * share);
  return Math.max(MIN_CPU_QUOTA_US, quotaUs);
}

/**
 * What a VM gets of the CPU: a share of the time that its class has, or `first`: as much as there is,
 * before all others, for a QEMU in which no guest runs and for which one waits.
 */
export type CpuClaim = number | 'first';

/** How a VM gets it that is there already. Empty: it cannot. */
export function cpuLimitsOf(
  spec: Pick<VmStart, 'fleet' | 'place' | 'vmId' | 'class'>,
  { version, claim }: { readonly version: CgroupVersion; readonly claim: CpuClaim },
): CgroupPlan['writes'] {
  const group = join('architect', spec.fleet, spec.place ?? spec.vmId);
  const quotaUs = claim === 'first' ? undefined : quotaUsOf(spec.class, claim);
  const weigh = claim === 'first' ? FIRST_WEIGHT : 1;
  if (version === 'v1') {
    const dir = join(ROOT, 'cpu', group);
    return [
      { file: join(dir, 'cpu.cfs_quota_us'), value: String(quotaUs ?? -1) },
      { file: join(dir, 'cpu.shares'), value: String(USUAL_SHARES * weigh) },
    ];
  }
  if (version === 'v2') {
    const dir = join(ROOT, group);
    return [
      { file: join(dir, 'cpu.max'), value: `${quotaUs ?? 'max'} ${CPU_PERIOD_US}` },
      { file: join(dir, 'cpu.weight'), value: String(USUAL_WEIGHT * weigh) },
    ];
  }
  return [];
}

/** Rejects where the VM's group is gone. */
export async function writeCpuLimits(limits: ReturnType<typeof cpuLimitsOf>): Promise<void> {
  for (const { file, value } of limits) await writeFile(file, value, { flag: 'r+' });
}

interface Limits {
  readonly group: string;
  readonly memoryBytes: number;
  readonly quotaUs: number;
  readonly tasks: number;
}

function planV1({ group, memoryBytes, quotaUs, tasks }: Limits): CgroupPlan {
  const cpu = join(ROOT, 'cpu', group);
  const memory = join(ROOT, 'memory', group);
  const pids = join(ROOT, 'pids', group);
  return {
    dirs: [cpu, memory, pids].flatMap(withParents),
    writes: [
      { file: join(cpu, 'cpu.cfs_period_us'), value: String(CPU_PERIOD_US) },
      { file: join(cpu, 'cpu.cfs_quota_us'), value: String(quotaUs) },
      { file: join(memory, 'memory.limit_in_bytes'), value: String(memoryBytes) },
      { file: join(pids, 'pids.max'), value: String(tasks) },
    ],
    procsFiles: [cpu, memory, pids].map((dir) => join(dir, 'cgroup.procs')),
  };
}

function planV2({ group, memoryBytes, quotaUs, tasks }: Limits): CgroupPlan {
  const dir = join(ROOT, group);
  const parents = withParents(dir).slice(0, -1);
  const delegations = [ROOT, ...parents].map((parent) => ({
    file: join(parent, 'cgroup.subtree_control'),
    value: '+cpu +memory +pids',
  }));
  return {
    dirs: [...parents, dir],
    writes: [
      ...delegations,
      { file: join(dir, 'cpu.max'), value: `${quotaUs} ${CPU_PERIOD_US}` },
      { file: join(dir, 'memory.max'), value: String(memoryBytes) },
      { file: join(dir, 'memory.swap.max'), value: '0' },
      { file: join(dir, 'pids.max'), value: String(tasks) },
    ],
    procsFiles: [join(dir, 'cgroup.procs')],
  };
}

/** `…/architect`, `…/architect/<fleet>`, `…/architect/<fleet>/<vm>`. */
function withParents(dir: string): string[] {
  return [dirname(dirname(dir)), dirname(dir), dir];
}

/** Which cgroup version can limit CPU, memory and tasks on this machine. */
export async function probeCgroup(): Promise<CgroupVersion> {
  const controllers = await readFile(join(ROOT, 'cgroup.controllers'), 'utf8').catch(() => '');
  const words = controllers.split(/\s+/);
  if (['cpu', 'memory', 'pids'].every((name) => words.includes(name))) return 'v2';
  const v1 = ['cpu/cpu.cfs_quota_us', 'memory/memory.limit_in_bytes', 'pids/cgroup.procs'];
  const found = await Promise.all(v1.map((file) => isWritable(join(ROOT, file))));
  return found.every(Boolean) ? 'v1' : 'none';
}

async function isWritable(path: string): Promise<boolean> {
  return access(path, constants.W_OK).then(
    () => true,
    () => false,
  );
}

/** Creates the groups and sets the limits. Idempotent; on failure the groups made are left. */
export async function ensureCgroup(plan: CgroupPlan): Promise<void> {
  try {
    for (const dir of plan.dirs) await mkdir(dir, { recursive: true });
    for (const { file, value } of plan.writes) await writeFile(file, value);
  } catch (cause) {
    throw new CgroupError("Cannot set the VM's cgroup limits; check that the agent runs as root.", {
      cause,
    });
  }
}

/** Removes the VM's own groups, once its processes are gone; parents that others use stay. */
export async function removeCgroup(plan: CgroupPlan): Promise<void> {
  for (const dir of plan.procsFiles.map((file) => dirname(file))) await removeGroup(dir);
  for (const dir of [...plan.dirs].reverse()) await rmdir(dir).catch(() => undefined);
}

/** The kernel needs a moment after the last process is reaped (EBUSY). */
async function removeGroup(dir: string): Promise<void> {
  for (let attempt = 0; attempt < REMOVE_TRIES; attempt += 1) {
    const code = await rmdir(dir).then(
      () => 'removed',
      (error: NodeJS.ErrnoException) => error.code,
    );
    if (code !== 'EBUSY') return;
    await delay(REMOVE_PAUSE_MS);
  }
  throw new CgroupError(`The cgroup ${dir} is still busy after its QEMU ended.`);
}

/** What this VM's group on this host is called, limited to and found by. */
export function cgroupOf(
  spec: Pick<VmStart, 'fleet' | 'place' | 'vmId' | 'class' | 'pool'>,
  version: CgroupVersion,
): CgroupPlan {
  const { fleet, place = spec.vmId, pool } = spec;
  const memoryMib = Math.max(spec.class.memoryMib, leastMemoryMib(pool.accelerator));
  return planCgroup({ version, fleet, place, class: { ...spec.class, memoryMib } });
}
