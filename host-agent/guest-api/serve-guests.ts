/** The guest API is where a VM's network is: opened with it, closed before it goes. */
import { VmId } from '../protocol/ids.ts';
import type { Networks } from '../supervisor/ports.ts';
import type { GuestApi } from './guest-api.ts';

export function serveGuests(networks: Networks, api: Pick<GuestApi, 'open' | 'close'>): Networks {
  return {
    ensure: async (vmId, attachment) => {
      const network = await networks.ensure(vmId, attachment);
      api.open(VmId.parse(vmId), network.netnsPath);
      return network;
    },
    uplink: (vmId) => networks.uplink(vmId),
    useGateways: (turns) => networks.useGateways(turns),
    destroy: async (vmId) => {
      api.close(VmId.parse(vmId));
      await networks.destroy(vmId);
    },
    retain: async (wanted) => {
      const removed = await networks.retain(wanted);
      for (const vmId of removed) api.close(VmId.parse(vmId));
      return removed;
    },
  };
}
