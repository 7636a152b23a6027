/** Whether a host may join the pool: everything that a guest can see must be the same on all hosts. */
import type { HostFacts, PoolSpec } from '../../host-agent/protocol/host-facts.ts';

export type Admission =
  | { readonly kind: 'admitted'; readonly pool: PoolSpec }
  | { readonly kind: 'turned-away'; readonly why: string };

const LEAST_VCPUS = 1;
const LEAST_MEMORY_MIB = 512;
const LEAST_DISK_GIB = 1;

/** Admits, or names every reason against it, one sentence each. */
export function admit(facts: HostFacts, pool: PoolSpec): Admission {
  const reasons = [
    ...machineReasons(facts, pool),
    ...cpuReasons(facts, pool),
    ...sizeReasons(facts),
  ];
  return reasons.length === 0
    ? { kind: 'admitted', pool }
    : { kind: 'turned-away', why: reasons.join(' ').slice(0, 1000) };
}

function machineReasons(facts: HostFacts, pool: PoolSpec): readonly string[] {
  const reasons: string[] = [];
  if (facts.arch !== pool.arch) {
    reasons.push(`Pool ${pool.id} is for ${pool.arch} hosts and this one is ${facts.arch}.`);
  }
  if (facts.accelerator !== pool.accelerator) {
    reasons.push(
      `Pool ${pool.id} runs its guests under ${pool.accelerator} and this host offers ` +
        `${facts.accelerator} (${facts.acceleratorWhy}).`,
    );
  }
  if (facts.cgroup === 'none') {
    reasons.push('This host has no cgroups, so its guests could not be limited.');
  }
  return reasons;
}

function cpuReasons(facts: HostFacts, pool: PoolSpec): readonly string[] {
  const reasons: string[] = [];
  if (pool.cpuVendor !== null && facts.cpu.vendor !== pool.cpuVendor) {
    reasons.push(
      `Pool ${pool.id} wants CPUs by ${pool.cpuVendor} and this host's is by ${facts.cpu.vendor}.`,
    );
  }
  if (!facts.cpuModels.includes(pool.cpuModel)) {
    reasons.push(
      `This host's QEMU ${facts.qemuVersion} cannot offer the whole CPU model ${pool.cpuModel} ` +
        `that pool ${pool.id} demands.`,
    );
  }
  return reasons;
}

function sizeReasons({ capacity }: HostFacts): readonly string[] {
  const fits =
    capacity.vcpus >= LEAST_VCPUS &&
    capacity.memoryMib >= LEAST_MEMORY_MIB &&
    capacity.diskGib >= LEAST_DISK_GIB;
  if (fits) return [];
  return [
    `This host offers ${capacity.vcpus} vCPU, ${capacity.memoryMib} MiB and ${capacity.diskGib} GiB ` +
      'of disk, which is too small for any VM.',
  ];
}
