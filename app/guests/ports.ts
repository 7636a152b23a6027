/** Who answers what jobs ask about their VMs, for whoever has the hosts' connections. */
import type { GuestAnswer, GuestAsk } from '../../host-agent/protocol/guest-api.ts';
import type { HostId, VmId } from '../../host-agent/protocol/ids.ts';

/** A question as it came: from a host that says that it has the VM. */
export interface GuestQuestion {
  readonly hostId: HostId;
  /** Of that host. */
  readonly cpuModel: string | null;
  readonly vmId: VmId;
  readonly ask: GuestAsk;
}

export interface GuestDesk {
  /** Rejects when the records cannot be read. */
  answer(question: GuestQuestion): Promise<GuestAnswer>;
}
