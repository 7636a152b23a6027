/**
 * QEMU's names of CPU features in terms of /proc/cpuinfo's, to say in words what a host lacks and to
 * judge a recorded report without a QEMU at hand. Pure.
 *
 * The flags are less than the whole truth: Linux hides some features and shows others as off that
 * the CPU has. So flags can rule a model out, and never alone admit a host: QEMU's own answer does.
 */
import type { QemuCpuModel } from './qemu-cpu-models.ts';

/**
 * KVM gives these to any guest, whatever the host's CPU (QEMU target/i386/kvm/kvm.c,
 * kvm_arch_get_supported_cpuid).
 */
const GIVEN_BY_KVM: ReadonlySet<string> = new Set(['apic', 'arat', 'tsc-deadline', 'x2apic']);

/** In no flag of Linux: bits of MSRs, and what newer kernels alone would show. */
const WITHOUT_FLAG: ReadonlySet<string> = new Set([
  ...['ibrs-all', 'mds-no', 'pschange-mc-no', 'rdctl-no', 'skip-l1dfl-vmentry', 'taa-no'],
  ...['amd-psfd', 'auto-ibrs', 'lfence-always-serializing', 'no-nested-data-bp'],
  ...['null-sel-clr-base', 'stibp-always-on', 'fsrc', 'fsrs', 'fzrm', 'xfd'],
]);

/** Where the flag is not QEMU's name with `_` for `-` (Linux arch/x86/include/asm/cpufeatures.h). */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map([
  ['amd-ssbd', 'ssbd'],
  ['amd-stibp', 'stibp'],
  ['avx512bitalg', 'avx512_bitalg'],
  ['avx512vbmi2', 'avx512_vbmi2'],
  ['avx512vnni', 'avx512_vnni'],
  ['cr8legacy', 'cr8_legacy'],
  ['spec-ctrl', 'ibrs'],
  ['sse4.1', 'sse4_1'],
  ['sse4.2', 'sse4_2'],
  ['tsx-ldtrk', 'tsxldtrk'],
]);

export interface FlagJudgement {
  /** Flags that the model needs and the host does not show. */
  readonly lacks: readonly string[];
  /** Features of the model that no flag tells of, in QEMU's names. */
  readonly untold: readonly string[];
}

export function judgeFlags(
  { features }: Pick<QemuCpuModel, 'features'>,
  hostFlags: readonly string[],
): FlagJudgement {
  const shown = new Set(hostFlags);
  const asked = features.filter((feature) => !GIVEN_BY_KVM.has(feature));
  const told = asked.filter((feature) => !WITHOUT_FLAG.has(feature)).map(flagOf);
  return {
    lacks: [...new Set(told)].filter((flag) => !shown.has(flag)).sort(),
    untold: asked.filter((feature) => WITHOUT_FLAG.has(feature)),
  };
}

function flagOf(feature: string): string {
  return OTHER_NAMES.get(feature) ?? feature.replaceAll('-', '_');
}
