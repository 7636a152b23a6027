/**
 * Which accelerator this machine can really use: kvm → pvm → tcg. `/dev/kvm` alone proves nothing:
 * where the host's module is kvm_pvm, a stock guest kernel hangs at boot with a core burning.
 */
import { access, constants } from 'node:fs/promises';
import type { Accelerator } from '../protocol/host-facts.ts';

export interface AcceleratorFacts {
  readonly kvmDevice: 'usable' | 'not-usable' | 'absent';
  /** Is /sys/module/kvm_pvm there? */
  readonly pvmModule: boolean;
  /** Is /sys/module/kvm_intel or kvm_amd there? */
  readonly hardwareModule: boolean;
  /** Does the pool's guest kernel have CONFIG_PVM_GUEST? */
  readonly pvmGuestKernel: boolean;
}

export interface AcceleratorChoice {
  readonly accelerator: Accelerator;
  /** Why not a better one: a sentence for the operator. */
  readonly why: string;
}

export function chooseAccelerator(facts: AcceleratorFacts): AcceleratorChoice {
  if (facts.kvmDevice === 'absent') return tcg('there is no /dev/kvm');
  if (facts.kvmDevice === 'not-usable') return tcg('/dev/kvm cannot be opened');
  if (facts.hardwareModule && !facts.pvmModule) {
    return { accelerator: 'kvm', why: 'hardware virtualisation is available' };
  }
  if (!facts.pvmModule) return tcg('/dev/kvm is not backed by kvm_intel, kvm_amd or kvm_pvm');
  if (facts.pvmGuestKernel) {
    return { accelerator: 'pvm', why: '/dev/kvm is PVM (module kvm_pvm), not hardware' };
  }
  return tcg('/dev/kvm is PVM (module kvm_pvm) and the guest kernel is not built for PVM');
}

function tcg(reason: string): AcceleratorChoice {
  return { accelerator: 'tcg', why: `software emulation, because ${reason}` };
}

/** Reads this machine's facts and chooses. Never rejects: what cannot be read is not there. */
export async function probeAccelerator(
  options: { readonly pvmGuestKernel?: boolean } = {},
): Promise<AcceleratorChoice> {
  const [device, usable, pvm, intel, amd] = await Promise.all([
    can('/dev/kvm', constants.F_OK),
    can('/dev/kvm', constants.R_OK | constants.W_OK),
    can('/sys/module/kvm_pvm', constants.F_OK),
    can('/sys/module/kvm_intel', constants.F_OK),
    can('/sys/module/kvm_amd', constants.F_OK),
  ]);
  return chooseAccelerator({
    kvmDevice: usable ? 'usable' : device ? 'not-usable' : 'absent',
    pvmModule: pvm,
    hardwareModule: intel || amd,
    pvmGuestKernel: options.pvmGuestKernel ?? false,
  });
}

async function can(path: string, mode: number): Promise<boolean> {
  try {
    await access(path, mode);
    return true;
  } catch {
    return false;
  }
}
