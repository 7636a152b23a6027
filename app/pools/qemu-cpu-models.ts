/**
 * The CPU models that pools are made of, and what each asks of a host. Recorded from QEMU 10.0.2
 * (`query-cpu-model-expansion`, static, with the properties that KVM switches off by default:
 * target/i386/kvm/kvm-cpu.c, `kvm_default_props`); a versioned model never changes in a later QEMU.
 * A contract test compares the table with the QEMU that is installed.
 *
 * Names are QEMU's. Left out of all: `hypervisor` and `vme`.
 */
export type CpuVendor = 'GenuineIntel' | 'AuthenticAMD';

interface ModelRow {
  readonly model: string;
  /** Null: for guests on hosts of any vendor. */
  readonly vendor: CpuVendor | null;
  /** An earlier row whose features it has too, but for `drops`. */
  readonly like: string | undefined;
  readonly adds: string;
  readonly drops: string;
}

/** Of each vendor the weakest first. */
const ROWS: readonly ModelRow[] = [
  {
    model: 'Opteron_G3-v1',
    vendor: 'AuthenticAMD',
    like: undefined,
    adds:
      'abm apic clflush cmov cx16 cx8 de fpu fxsr lahf-lm lm mca mce misalignsse mmx ' +
      'msr mtrr nx pae pat pge pni popcnt pse pse36 rdtscp sep sse sse2 sse4a syscall ' +
      'tsc',
    drops: '',
  },
  {
    model: 'EPYC-v1',
    vendor: 'AuthenticAMD',
    like: 'Opteron_G3-v1',
    adds:
      '3dnowprefetch adx aes arat avx avx2 bmi1 bmi2 clflushopt cr8legacy f16c fma ' +
      'fsgsbase fxsr-opt mmxext movbe osvw pclmulqdq pdpe1gb rdrand rdseed sha-ni ' +
      'smap smep sse4.1 sse4.2 ssse3 topoext xgetbv1 xsave xsavec xsaveopt',
    drops: '',
  },
  {
    model: 'EPYC-v2',
    vendor: 'AuthenticAMD',
    like: 'EPYC-v1',
    adds: 'ibpb',
    drops: '',
  },
  {
    model: 'EPYC-v4',
    vendor: 'AuthenticAMD',
    like: 'EPYC-v2',
    adds: 'clzero perfctr-core xsaveerptr xsaves',
    drops: '',
  },
  {
    model: 'EPYC-Rome-v4',
    vendor: 'AuthenticAMD',
    like: 'EPYC-v4',
    adds: 'amd-ssbd amd-stibp clwb ibrs rdpid umip wbnoinvd',
    drops: 'xsaves',
  },
  {
    model: 'EPYC-Milan-v1',
    vendor: 'AuthenticAMD',
    like: 'EPYC-Rome-v4',
    adds: 'erms fsrm invpcid pcid pku xsaves',
    drops: '',
  },
  {
    model: 'EPYC-Milan-v2',
    vendor: 'AuthenticAMD',
    like: 'EPYC-Milan-v1',
    adds:
      'amd-psfd lfence-always-serializing no-nested-data-bp null-sel-clr-base ' +
      'stibp-always-on vaes vpclmulqdq',
    drops: '',
  },
  {
    model: 'EPYC-Genoa-v1',
    vendor: 'AuthenticAMD',
    like: 'EPYC-Milan-v2',
    adds:
      'auto-ibrs avx512-bf16 avx512-vpopcntdq avx512bitalg avx512bw avx512cd avx512dq ' +
      'avx512f avx512ifma avx512vbmi avx512vbmi2 avx512vl avx512vnni gfni la57',
    drops: '',
  },
  {
    model: 'Nehalem-v1',
    vendor: 'GenuineIntel',
    like: undefined,
    adds:
      'apic clflush cmov cx16 cx8 de fpu fxsr lahf-lm lm mca mce mmx msr mtrr nx pae ' +
      'pat pge pni popcnt pse pse36 sep sse sse2 sse4.1 sse4.2 ssse3 syscall tsc',
    drops: '',
  },
  {
    model: 'Nehalem-v2',
    vendor: 'GenuineIntel',
    like: 'Nehalem-v1',
    adds: 'spec-ctrl',
    drops: '',
  },
  {
    model: 'Westmere-v1',
    vendor: 'GenuineIntel',
    like: 'Nehalem-v2',
    adds: 'aes arat pclmulqdq',
    drops: 'spec-ctrl',
  },
  {
    model: 'Westmere-v2',
    vendor: 'GenuineIntel',
    like: 'Westmere-v1',
    adds: 'spec-ctrl',
    drops: '',
  },
  {
    model: 'SandyBridge-v1',
    vendor: 'GenuineIntel',
    like: 'Westmere-v2',
    adds: 'avx rdtscp tsc-deadline x2apic xsave xsaveopt',
    drops: 'spec-ctrl',
  },
  {
    model: 'SandyBridge-v2',
    vendor: 'GenuineIntel',
    like: 'SandyBridge-v1',
    adds: 'spec-ctrl',
    drops: '',
  },
  {
    model: 'IvyBridge-v1',
    vendor: 'GenuineIntel',
    like: 'SandyBridge-v2',
    adds: 'erms f16c fsgsbase rdrand smep',
    drops: 'spec-ctrl',
  },
  {
    model: 'IvyBridge-v2',
    vendor: 'GenuineIntel',
    like: 'IvyBridge-v1',
    adds: 'spec-ctrl',
    drops: '',
  },
  {
    model: 'Haswell-v2',
    vendor: 'GenuineIntel',
    like: 'IvyBridge-v2',
    adds: 'abm avx2 bmi1 bmi2 fma invpcid movbe pcid',
    drops: 'spec-ctrl',
  },
  {
    model: 'Haswell-v4',
    vendor: 'GenuineIntel',
    like: 'Haswell-v2',
    adds: 'spec-ctrl',
    drops: '',
  },
  {
    model: 'Broadwell-v2',
    vendor: 'GenuineIntel',
    like: 'Haswell-v4',
    adds: '3dnowprefetch adx rdseed smap',
    drops: 'spec-ctrl',
  },
  {
    model: 'Broadwell-v4',
    vendor: 'GenuineIntel',
    like: 'Broadwell-v2',
    adds: 'spec-ctrl',
    drops: '',
  },
  {
    model: 'Skylake-Client-v4',
    vendor: 'GenuineIntel',
    like: 'Broadwell-v4',
    adds: 'xgetbv1 xsavec xsaves',
    drops: '',
  },
  {
    model: 'Skylake-Server-v4',
    vendor: 'GenuineIntel',
    like: 'Skylake-Client-v4',
    adds: 'avx512bw avx512cd avx512dq avx512f avx512vl clwb pdpe1gb pku',
    drops: 'xsaves',
  },
  {
    model: 'Skylake-Server-v5',
    vendor: 'GenuineIntel',
    like: 'Skylake-Server-v4',
    adds: 'xsaves',
    drops: '',
  },
  {
    model: 'Cascadelake-Server-v5',
    vendor: 'GenuineIntel',
    like: 'Skylake-Server-v5',
    adds:
      'arch-capabilities avx512vnni clflushopt ibrs-all mds-no rdctl-no ' +
      'skip-l1dfl-vmentry ssbd',
    drops: '',
  },
  {
    model: 'Icelake-Server-v4',
    vendor: 'GenuineIntel',
    like: 'Cascadelake-Server-v5',
    adds:
      'avx512-vpopcntdq avx512bitalg avx512ifma avx512vbmi avx512vbmi2 fsrm gfni la57 ' +
      'pschange-mc-no rdpid sha-ni taa-no umip vaes vpclmulqdq wbnoinvd',
    drops: 'xsaves',
  },
  {
    model: 'Icelake-Server-v7',
    vendor: 'GenuineIntel',
    like: 'Icelake-Server-v4',
    adds: 'hle rtm xsaves',
    drops: '',
  },
  {
    model: 'SapphireRapids-v1',
    vendor: 'GenuineIntel',
    like: 'Icelake-Server-v7',
    adds:
      'amx-bf16 amx-int8 amx-tile avx-vnni avx512-bf16 avx512-fp16 bus-lock-detect ' +
      'fsrc fsrs fzrm serialize tsx-ldtrk xfd',
    drops: '',
  },
  {
    model: 'qemu64-v1',
    vendor: null,
    like: undefined,
    adds:
      'apic clflush cmov cx16 cx8 de fpu fxsr lahf-lm lm mca mce mmx msr mtrr nx pae ' +
      'pat pge pni pse pse36 sep sse sse2 syscall tsc',
    drops: '',
  },
];

export interface QemuCpuModel {
  readonly model: string;
  readonly vendor: CpuVendor | null;
  /** QEMU's names, sorted. */
  readonly features: readonly string[];
}

/** The order of preference: of each vendor the most capable first, what fits any vendor last. */
export const QEMU_CPU_MODELS: readonly QemuCpuModel[] = ROWS.map(({ model, vendor }) => ({
  model,
  vendor,
  features: [...featuresOf(model)].sort(),
})).toSorted((a, b) => rank(a.model) - rank(b.model));

function featuresOf(model: string | undefined): ReadonlySet<string> {
  const row = ROWS.find((one) => one.model === model);
  if (row === undefined) return new Set();
  const features = new Set([...featuresOf(row.like), ...words(row.adds)]);
  for (const dropped of words(row.drops)) features.delete(dropped);
  return features;
}

function words(text: string): readonly string[] {
  return text.split(' ').filter((word) => word !== '');
}

function rank(model: string): number {
  const place = ROWS.findIndex((row) => row.model === model);
  return ROWS[place]?.vendor === null ? 0 : -place;
}
