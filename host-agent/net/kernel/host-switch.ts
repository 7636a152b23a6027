/**
 * A host whose switch is the kernel's own: what a VM's link lets out takes a routing table of the
 * VM's own, whose one way is the tunnel to its gateway; what the tunnel brings takes the route to the
 * VM's link. A VM that has left is followed by another route in the place of that one.
 */
import {
  enableForwarding6,
  hasIpv6,
  runIpBatch,
  tryIpBatch,
  tryIpBatch6,
} from '../network-commands.ts';
import type { HostSwitch, HostVm, VmSeat } from '../switch-backend.ts';
import type { Tunnel } from '../tunnel.ts';
import { numberOf } from '../vni.ts';
import { hostPassages, planForward, planHostVm, planHostVmGone, planTurn } from './host-plan.ts';
import { planForward6, planHostVm6, planHostVmGone6, planTurn6 } from './host-plan6.ts';
import { TunnelSets } from './tunnel-sets.ts';

interface Kept {
  readonly vm: HostVm;
  readonly next?: VmSeat;
}

/** Nothing is made in the caller's namespace before the first VM. */
export function openKernelHost(options: Tunnel & { readonly fleet: string }): HostSwitch {
  const known = new Map<number, Kept>();
  let opening: Promise<TunnelSets> | undefined;
  const open = () => {
    opening ??= openSets(options);
    opening.catch(() => {
      opening = undefined;
    });
    return opening;
  };
  return {
    ensureVm: async (vm) => {
      const sets = await open();
      await sets.keep(vm.guestAddress, hostPassages(vm));
      const { rule, routes } = planHostVm(vm);
      // A rule that is there is refused, and cannot be replaced.
      await Promise.all([tryIpBatch(rule), tryIpBatch6(planHostVm6(vm))]);
      await runIpBatch(routes);
      known.set(numberOf(vm.vni), { vm });
    },
    forwardTo: async (number, next) => {
      const vm = known.get(number)?.vm;
      if (vm === undefined) return false;
      const sets = await open();
      await sets.keep(vm.guestAddress, hostPassages(vm, next));
      await Promise.all([runIpBatch(planForward(vm, next)), tryIpBatch6(planForward6(vm, next))]);
      known.set(number, { vm, next });
      return true;
    },
    turnTo: async (number, gateway) => {
      const kept = known.get(number);
      if (kept === undefined) return false;
      const turned = { ...kept, vm: { ...kept.vm, gateway } };
      const sets = await open();
      await sets.keep(turned.vm.guestAddress, hostPassages(turned.vm, turned.next));
      await Promise.all([runIpBatch(planTurn(turned.vm)), tryIpBatch6(planTurn6(turned.vm))]);
      known.set(number, turned);
      return true;
    },
    removeVm: async (number) => {
      const sets = await open();
      const left = sets.held('inward').find(({ vni }) => numberOf(vni) === number);
      if (left === undefined) return;
      await Promise.all([
        tryIpBatch(planHostVmGone(left.guestAddress)),
        tryIpBatch6(planHostVmGone6(left.guestAddress)),
      ]);
      await sets.keep(left.guestAddress, {});
      known.delete(number);
    },
    traffic: async (number) => {
      const kept = known.get(number);
      if (kept === undefined) return undefined;
      return await readTraffic(await open(), kept);
    },
  };
}

async function openSets(options: Tunnel & { readonly fleet: string }): Promise<TunnelSets> {
  if (hasIpv6()) await enableForwarding6();
  return await TunnelSets.open(options, { name: `ar-${options.fleet}-tunnel`, role: 'host' });
}

async function readTraffic(sets: TunnelSets, { vm, next }: Kept) {
  const { guestAddress } = vm;
  const own = { host: vm.gateway, vni: vm.vni, guestAddress };
  const [toGateway, fromGateway, forwarded] = await Promise.all([
    sets.packets('outward', own),
    sets.packets('inward', own),
    next === undefined ? 0 : sets.packets('onward', { ...next, guestAddress }),
  ]);
  return { toGateway, fromGateway, forwarded };
}
