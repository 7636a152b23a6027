/**
 * Which instance types can run a pool's guests. EC2 says so in DescribeInstanceTypes; no list is kept
 * here. Pure.
 *
 *   bare metal              runs KVM
 *   nested virtualisation   runs KVM when CpuOptions.NestedVirtualization is enabled at the launch
 *   anything else           runs no KVM: good for pools under PVM or software emulation only
 *
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/amazon-ec2-nested-virtualization.html
 */
import { z } from 'zod';
import type { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';

export type Virtualization = 'metal' | 'nested' | 'none';

export interface HostType {
  readonly name: string;
  readonly virtualization: Virtualization;
  readonly arch: 'x64' | 'arm64';
  /** As in /proc/cpuinfo; undefined: no maker that is known here. */
  readonly cpuVendor: string | undefined;
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly spot: boolean;
}

const ARCHITECTURES: Readonly<Record<string, HostType['arch']>> = { x86_64: 'x64', arm64: 'arm64' };
const VENDORS: Readonly<Record<string, string>> = { Intel: 'GenuineIntel', AMD: 'AuthenticAMD' };

const InstanceTypeInfo = z.object({
  InstanceType: z.string().max(64),
  BareMetal: z.boolean().optional(),
  SupportedUsageClasses: z.array(z.string()).optional(),
  ProcessorInfo: z.object({
    SupportedArchitectures: z.array(z.string()),
    SupportedFeatures: z.array(z.string()).optional(),
    Manufacturer: z.string().optional(),
  }),
  VCpuInfo: z.object({ DefaultVCpus: z.int().min(1) }),
  MemoryInfo: z.object({ SizeInMiB: z.int().min(1) }),
});

/** Undefined for what lacks what is needed of it, or is of an architecture that is not known here. */
export function readHostType(raw: unknown): HostType | undefined {
  const parsed = InstanceTypeInfo.safeParse(raw);
  if (!parsed.success) return undefined;
  const { ProcessorInfo: processor, ...info } = parsed.data;
  const arch = processor.SupportedArchitectures.map((name) => ARCHITECTURES[name]).find(Boolean);
  if (arch === undefined) return undefined;
  const isNested = processor.SupportedFeatures?.includes('nested-virtualization') ?? false;
  return {
    name: info.InstanceType,
    virtualization: info.BareMetal === true ? 'metal' : isNested ? 'nested' : 'none',
    arch,
    cpuVendor: VENDORS[processor.Manufacturer ?? ''],
    vcpus: info.VCpuInfo.DefaultVCpus,
    memoryMib: info.MemoryInfo.SizeInMiB,
    spot: info.SupportedUsageClasses?.includes('spot') ?? false,
  };
}

export type PoolNeeds = Pick<PoolSpec, 'arch' | 'accelerator' | 'cpuVendor'>;

/** A host of this type would be admitted, as far as EC2 tells. */
export function canRunPool(type: HostType, pool: PoolNeeds): boolean {
  if (type.arch !== pool.arch) return false;
  if (pool.cpuVendor !== null && type.cpuVendor !== pool.cpuVendor) return false;
  // A pool's hosts have one accelerator, and an agent takes the best that its machine has.
  return (type.virtualization === 'none') === (pool.accelerator !== 'kvm');
}
