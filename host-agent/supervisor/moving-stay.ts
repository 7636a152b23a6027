/** The seam between a VM's stay on this host and its moving: hosted-vm.ts has one, vm-moves.ts uses it. */
import type { Parking, TokenEntry, VmJournal } from '../journal/token.ts';
import type { VmDriver } from '../vm/vm-driver.ts';

/** What the moving needs of the VM's stay on this host. */
export interface MovingStay {
  readonly journal: VmJournal;
  /** Durably. Rejects with JournalError. */
  rewrite(entry: TokenEntry): Promise<void>;
  /** Durably: it is being parked, or, undefined, no more. Rejects with JournalError. */
  markParking(parking: Parking | undefined): Promise<void>;
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
