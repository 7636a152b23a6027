/** The seam between a VM's stay on this host and its moving: hosted-vm.ts has one, vm-moves.ts uses it. */
import type { Logger } from 'pino';
import type { HostClocks } from '../authority/run-lease.ts';
import type { TokenDesk } from '../authority/token-desk.ts';
import type { Parking, TokenEntry, VmJournal } from '../journal/token.ts';
import type { Mobility } from '../migration/mobility.ts';
import type { MoveLog } from '../migration/move-log.ts';
import type { InstanceClass } from '../protocol/instance-class.ts';
import type { VmDriver } from '../vm/vm-driver.ts';
import type { Networks } from './ports.ts';

/** What the moving needs of the VM's stay on this host. */
export interface MovingStay {
  readonly journal: VmJournal;
  /** Durably. Rejects with JournalError. */
  rewrite(entry: TokenEntry): Promise<void>;
  /** Durably: it is being parked, or, undefined, no more. Rejects with JournalError. */
  markParking(parking: Parking | undefined): Promise<void>;
  /** Durably: so much of its host is the VM's. Rejects with JournalError. */
  become(size: InstanceClass): Promise<void>;
  /** It is over here and waits in the store. */
  endParked(end: { readonly why: string; readonly stoppedAtMs: number }): void;
  driver(): VmDriver | undefined;
  drive(driver: VmDriver): void;
  /** After a restart of the agent: takes the VM's QEMU over and lets the guest go on. */
  resume(): Promise<void>;
  /** Everything of the VM goes but its journal. Idempotent. */
  clear(): Promise<void>;
  /** The VM is over, and this is why. */
  bury(why: string): void;
  /** Everything of the VM goes, its journal last; it is reported no more. */
  vanish(): Promise<void>;
}

/** Whatever of the host the moving of one VM needs. */
export interface MovesParts {
  readonly stay: MovingStay;
  readonly desk: TokenDesk;
  readonly mobility: Mobility;
  readonly networks: Pick<Networks, 'ensure' | 'uplink'>;
  readonly log: MoveLog;
  readonly clocks: () => HostClocks;
  readonly logger: Logger;
  readonly onChange: () => void;
}
