import { describe, expect, it } from 'vitest';
import { canRunPool, readHostType } from './host-type.ts';

/** As DescribeInstanceTypes shows it, less what is of no interest here. */
function info(over: Record<string, unknown> = {}, processor: Record<string, unknown> = {}) {
  return {
    InstanceType: 'm8i.xlarge',
    BareMetal: false,
    SupportedUsageClasses: ['on-demand', 'spot'],
    ProcessorInfo: {
      SupportedArchitectures: ['x86_64'],
      SupportedFeatures: ['nested-virtualization'],
      Manufacturer: 'Intel',
      ...processor,
    },
    VCpuInfo: { DefaultVCpus: 4 },
    MemoryInfo: { SizeInMiB: 16_384 },
    ...over,
  };
}

const KVM = { arch: 'x64', accelerator: 'kvm', cpuVendor: null } as const;

describe('readHostType', () => {
  it.each([
    ['nested', info()],
    ['metal', info({ BareMetal: true }, { SupportedFeatures: undefined })],
    ['none', info({}, { SupportedFeatures: ['amd-sev-snp'], Manufacturer: 'AMD' })],
    ['none', info({}, { SupportedFeatures: undefined })],
  ])('finds virtualisation: %s', (virtualization, raw) => {
    expect(readHostType(raw)?.virtualization).toBe(virtualization);
  });

  it.each([
    ['a type without a name', info({ InstanceType: undefined })],
    ['an unknown architecture', info({}, { SupportedArchitectures: ['riscv64'] })],
    ['nonsense', 'm8i.xlarge'],
  ])('passes over %s', (_, raw) => {
    expect(readHostType(raw)).toBeUndefined();
  });

  it('knows what is sold as spot', () => {
    expect(readHostType(info())?.spot).toBe(true);
    expect(readHostType(info({ SupportedUsageClasses: ['on-demand'] }))?.spot).toBe(false);
  });
});

describe('canRunPool', () => {
  const nested = readHostType(info());
  const metal = readHostType(info({ BareMetal: true }));
  const plain = readHostType(info({}, { SupportedFeatures: [], Manufacturer: 'AMD' }));
  const arm = readHostType(info({ BareMetal: true }, { SupportedArchitectures: ['arm64'] }));
  it.each([
    [nested, KVM, true],
    [metal, KVM, true],
    [plain, KVM, false],
    [arm, KVM, false],
    [nested, { ...KVM, cpuVendor: 'AuthenticAMD' }, false],
    [nested, { ...KVM, cpuVendor: 'GenuineIntel' }, true],
    [plain, { ...KVM, accelerator: 'pvm' as const }, true],
    [metal, { ...KVM, accelerator: 'tcg' as const }, false],
  ])('%j for %j: %s', (type, pool, expected) => {
    expect(type === undefined ? undefined : canRunPool(type, pool)).toBe(expected);
  });
});
