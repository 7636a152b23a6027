/** What the supervisor needs of the rest of the agent, so that tests can stand in for a VM. */
import type { Logger } from 'pino';
import type { ArtifactKeeper } from '../artifacts/artifact-keeper.ts';
import type { JournalStore } from '../journal/journal-store.ts';
import type { Mobility } from '../migration/mobility.ts';
import type { VmNetworks } from '../net/vm-networks.ts';
import type { Capacity } from '../protocol/host-facts.ts';
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

export interface SupervisorParts {
  readonly fleet: string;
  /** This host's own; see `hostTag`. */
  readonly tag: string;
  readonly vmsDir: string;
  readonly capacity: Capacity;
  readonly drivers: VmDrivers;
  readonly networks: Networks;
  readonly journals: JournalStore;
  readonly artifacts: ArtifactKeeper;
  readonly mobility: Mobility;
  readonly nowMs: () => number;
  readonly logger: Logger;
  /** Something that `picture` shows has changed. */
  readonly onChange: () => void;
}
