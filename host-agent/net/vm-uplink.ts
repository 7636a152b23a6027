/** One VM's way to its gateway, as whoever moves it away needs it. */
import type { HostSwitch, HostTraffic, HostVm } from './switch-backend.ts';
import { numberOf, vniOf } from './vni.ts';

export interface VmUplink {
  /** What comes for the VM from now on goes to that host, which holds it in that epoch. */
  sendAfter(next: { readonly host: string; readonly epoch: number }): Promise<void>;
  /** What comes for the VM comes to it again. */
  takeBack(): Promise<void>;
  traffic(): Promise<HostTraffic | undefined>;
}

export function openUplink(parts: {
  /** As it is now: its gateway may be another one meanwhile. */
  readonly vm: () => HostVm;
  readonly hostSwitch: HostSwitch;
}): VmUplink {
  const { vm, hostSwitch } = parts;
  const number = numberOf(vm().vni);
  return {
    sendAfter: async ({ host, epoch }) => {
      await hostSwitch.forwardTo(number, { host, vni: vniOf({ number, epoch }) });
    },
    takeBack: () => hostSwitch.ensureVm(vm()),
    traffic: () => hostSwitch.traffic(number),
  };
}
