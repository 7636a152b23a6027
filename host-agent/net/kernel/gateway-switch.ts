/**
 * A gateway whose switch is the kernel's own: VXLAN, one route per VM, source NAT by connection
 * tracking. A move is `ip route replace`. Connections keep their public port, since tracking knows
 * them by the guest's address, whichever host that is on; it and the routes outlive the agent.
 */
import { enableForwarding6, readNetwork, runIpBatch, tryIpBatch } from '../network-commands.ts';
import type { GatewaySwitch, GatewayVm } from '../switch-backend.ts';
import type { Tunnel } from '../tunnel.ts';
import {
  type GatewayAddresses,
  passagesOf,
  planGatewayTable,
  planGone,
  planRoute,
  planSeats,
  planUnknownGuests,
  readGatewayVms,
} from './gateway-plan.ts';
import { offerPorts, readOffered } from './offered-ports.ts';
import { TunnelSets } from './tunnel-sets.ts';

/** In the caller's namespace. Packets of VMs that an earlier agent let in flow on meanwhile. */
export async function openKernelGateway(
  options: Tunnel & GatewayAddresses,
): Promise<GatewaySwitch> {
  const { prefix6 } = options;
  const table = planGatewayTable(options);
  const sets = await TunnelSets.open(options, table);
  if (prefix6 !== undefined) await enableForwarding6();
  await runIpBatch(planUnknownGuests(options));
  const list = async (): Promise<readonly GatewayVm[]> => {
    const shown = ['-4', 'route', 'show', 'root', options.guestRange];
    const [routes, offered] = await Promise.all([
      readNetwork('ip', shown),
      readOffered(table.name),
    ]);
    return readGatewayVms(routes, sets.held('inward')).map((vm) => {
      const ports = offered.get(vm.guestAddress);
      return ports === undefined ? vm : { ...vm, ports };
    });
  };
  const known = new Map((await list()).map((vm) => [vm.number, vm]));
  return {
    list,
    ensureVm: async (vm) => {
      const passages = passagesOf(vm);
      await sets.keep(vm.guestAddress, { inward: passages, outward: passages });
      await runIpBatch(planSeats({ ...vm, prefix6 }));
      const before = known.get(vm.number)?.ports ?? [];
      await offerPorts(table.name, vm.guestAddress, { before, after: vm.ports ?? [] });
      known.set(vm.number, vm);
    },
    flip: async (number, to) => {
      const vm = known.get(number);
      if (vm === undefined) return false;
      await runIpBatch(planRoute({ ...vm, prefix6 }, to));
      known.set(number, vm.seat?.vni === to.vni ? vm : { ...vm, seat: to, previous: vm.seat });
      return true;
    },
    removeVm: async (number) => {
      const vm = known.get(number);
      if (vm === undefined) return;
      await tryIpBatch(planGone(vm.guestAddress));
      await sets.keep(vm.guestAddress, {});
      await offerPorts(table.name, vm.guestAddress, { before: vm.ports ?? [], after: [] });
      known.delete(number);
    },
    traffic: async (number, seat) => {
      const vm = known.get(number);
      if (vm === undefined) return undefined;
      const passage = { ...seat, guestAddress: vm.guestAddress };
      const [fromHost, toHost] = await Promise.all([
        sets.packets('inward', passage),
        sets.packets('outward', passage),
      ]);
      return { fromHost, toHost };
    },
  };
}
