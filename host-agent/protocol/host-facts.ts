/** What a host says about itself when it connects. A host is admitted to a pool on these facts. */
import { z } from 'zod';
import { Digest } from './ids.ts';
import { Architecture } from './instance-class.ts';

export const Accelerator = z.enum(['kvm', 'pvm', 'tcg']);
export type Accelerator = z.infer<typeof Accelerator>;

export const CpuFacts = z.object({
  vendor: z.string().max(64),
  modelName: z.string().max(128),
  /** Flags as in /proc/cpuinfo. */
  features: z.array(z.string().max(32)).max(512),
});
export type CpuFacts = Readonly<z.infer<typeof CpuFacts>>;

export const Capacity = z.object({
  vcpus: z.int().min(0),
  memoryMib: z.int().min(0),
  diskGib: z.int().min(0),
});
export type Capacity = Readonly<z.infer<typeof Capacity>>;

export const HostFacts = z.object({
  arch: Architecture,
  accelerator: Accelerator,
  /** Why not a better accelerator: the probe's own words, for the operator. */
  acceleratorWhy: z.string().max(500),
  cpu: CpuFacts,
  /** CPU models that this host's QEMU can offer completely under its accelerator. */
  cpuModels: z.array(z.string().max(64)).max(512),
  capacity: Capacity,
  kernel: z.string().max(128),
  qemuVersion: z.string().max(64),
  cgroup: z.enum(['v1', 'v2', 'none']),
  /** Its address on the network that it shares with peers and gateways. */
  underlay: z.ipv4().optional(),
});
export type HostFacts = Readonly<z.infer<typeof HostFacts>>;

/** A pool's guests can move among its hosts; everything here must be the same on all of them. */
export const PoolSpec = z.object({
  id: z.string().max(63),
  arch: Architecture,
  accelerator: Accelerator,
  cpuVendor: z.string().max(64).nullable(),
  cpuModel: z.string().max(64),
  machineType: z.string().max(64),
  image: Digest,
  template: Digest,
});
export type PoolSpec = Readonly<z.infer<typeof PoolSpec>>;
