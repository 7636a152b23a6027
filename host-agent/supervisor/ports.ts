/** What the supervisor needs of the rest of the agent, so that tests can stand in for a VM. */
import type { VmNetworks } from '../net/vm-networks.ts';
import type { AdoptHow, VmDriver, VmStart } from '../vm/vm-driver.ts';

export interface VmDrivers {
  /** Answers at once; a start that fails shows in the driver's snapshot. */
  start(spec: VmStart): VmDriver;
  /**
   * Takes over the QEMU that runs in this folder; one that died comes back as `failed`. Undefined:
   * the folder holds no VM's state.
   */
  adopt(vmDir: string, how: AdoptHow): Promise<VmDriver | undefined>;
}

export type Networks = Pick<VmNetworks, 'ensure' | 'uplink' | 'destroy' | 'retain' | 'useGateways'>;
