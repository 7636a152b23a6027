/**
 * The networks of all VMs of one host: makes, lists and removes them. It holds which addresses are
 * taken; the kernel holds everything else, so a restarted agent reads it all back (but the epoch,
 * which the VM's journal says).
 *
 *   absent ──ensure──→ present ──destroy──→ absent
 *      └──ensure fails──→ absent (what was made is removed again)
 *
 * Invariants:
 *   - A network is handed out only when its guard stands; before, no guest is at its tap.
 *   - Only this host's VMs are listed or removed: the links in the agent's own namespace say which
 *     those are, since the names under /run/netns are shared by all hosts of a simulated fleet.
 *   - `ensure` and `destroy` are idempotent; calls for one VM must not overlap (its driver's task).
 */

import { existsSync } from 'node:fs';
import type { Logger } from 'pino';
import { chooseGuestAddress, GUEST_RANGE } from '../protocol/guest-addresses.ts';
import { GUEST_MAC } from '../protocol/guest-contract.ts';
import type { GatewayTurn } from '../protocol/messages.ts';
import type { VmNetwork } from '../vm/vm-driver.ts';
import { guestAddress6 } from './guest-ipv6.ts';
import { GUEST_GATEWAY, type GuestRate, planGuard, planGuardAnew } from './guest-policy.ts';
import { planHostGuard } from './host-guard.ts';
import { AddressesExhaustedError, NoSwitchError } from './net-errors.ts';
import {
  enableForwarding,
  hasIpv6,
  listLinks,
  loadRuleset,
  runIpBatch,
  tryIpBatch,
} from './network-commands.ts';
import type { HostSwitch, HostVm } from './switch-backend.ts';
import {
  guestMtu,
  hostLinkName,
  netnsName,
  parseLinkAlias,
  planAlias,
  planHostSide,
  planRemoval,
  planVmSide,
  TAP_NAME,
  type VmLink,
  type VmPlace,
} from './vm-link-plan.ts';
import { planVmSide6 } from './vm-link-plan6.ts';
import { openUplink, type VmUplink } from './vm-uplink.ts';
import { vmNumber, vniOf } from './vni.ts';

export interface VmNetworkOptions {
  readonly fleet: string;
  /** This host's own, among the hosts of its fleet that may share the machine. */
  readonly tag: string;
  readonly underlayMtu: number;
  /** Resolvers for guests, as `chooseResolvers` gives them. */
  readonly dns: readonly string[];
  readonly allow: readonly string[];
  readonly deny?: readonly string[];
  readonly rate?: GuestRate | undefined;
  readonly guestRange?: string;
  /** For VMs that have a gateway; undefined: none may have one. */
  readonly hostSwitch?: HostSwitch | undefined;
  readonly logger: Logger;
}

/** What a VM brings, or is given by the control plane. */
export interface Attachment {
  /** Undefined: one that is free on this host, or what it has here already. */
  readonly guestAddress?: string | undefined;
  /** Underlay address of its gateway. Undefined: none, or what it has here already. */
  readonly gateway?: string | undefined;
  /** A guest that starts is to have IPv6; one that moves here has what it has. */
  readonly ipv6?: boolean | undefined;
  /** In which this host holds it; 1 unless said. */
  readonly epoch?: number | undefined;
  /** Underlay address of the host that it comes from. */
  readonly stragglersFrom?: string | undefined;
}

export interface VmNetworks {
  /**
   * The VM's network, made if it is not there. A VM that comes from elsewhere brings its address:
   * AddressesExhaustedError when another VM has that one here. On failure nothing of it is left.
   */
  ensure(vmId: string, attachment?: Attachment): Promise<VmNetwork>;
  /**
   * Another gateway stands in for each of these, for VMs that are here and for those that come. Those
   * that an earlier call named and this one does not are themselves again.
   */
  useGateways(turns: readonly GatewayTurn[]): Promise<void>;
  /** Its way to its gateway; undefined: it has none. */
  uplink(vmId: string): VmUplink | undefined;
  /** Idempotent. The guest is cut off even if a process still holds the namespace. */
  destroy(vmId: string): Promise<void>;
  /** VMs that have a network on this host, complete or not. */
  list(): readonly string[];
  /** Removes the networks of all VMs but these; answers which were removed. */
  retain(wanted: ReadonlySet<string>): Promise<readonly string[]>;
}

/** Sets up the host's part (forwarding, table `ar-<fleet>-host`) and reads back what exists. */
export async function openVmNetworks(options: VmNetworkOptions): Promise<VmNetworks> {
  const { fleet, tag, guestRange = GUEST_RANGE } = options;
  await Promise.all([enableForwarding(), loadRuleset(planHostGuard({ fleet, guestRange }))]);
  const known = await readKnown({ fleet, tag });
  const complete = new Map<string, Seated>();
  const mtu = guestMtu(options.underlayMtu);
  let turns: readonly GatewayTurn[] = [];
  const actingFor = (gateway: string | undefined) =>
    turns.find(({ from }) => from === gateway)?.to ?? gateway;
  const ensure = async (vmId: string, wish: Attachment = {}): Promise<VmNetwork> => {
    const before = known.get(vmId);
    const gateway = actingFor(wish.gateway);
    const claimed = before ?? claim(known, { vmId, range: guestRange, wish: { ...wish, gateway } });
    const link = { fleet, tag, vmId, ...claimed, mtu };
    const epoch = wish.epoch ?? complete.get(vmId)?.epoch ?? 1;
    const wanted: Seated = { link, epoch, stragglersFrom: wish.stragglersFrom };
    if (before === undefined) await createOrUndo(wanted, options, known);
    else if (!complete.has(vmId)) await repair(wanted, options);
    else if (complete.get(vmId)?.epoch !== epoch) await seat(wanted, options);
    complete.set(vmId, wanted);
    await turnAll();
    const ipv6 = wish.ipv6 === true && { guestAddress6: guestAddress6(link.guestAddress) };
    return { ...describe(link, options.dns), ...ipv6 };
  };
  const turnAll = async (): Promise<void> => {
    let aliases = '';
    for (const [vmId, { guestAddress, gateway: old }] of known) {
      const gateway = actingFor(old);
      const seated = complete.get(vmId);
      if (gateway === undefined || gateway === old || seated === undefined) continue;
      known.set(vmId, { guestAddress, gateway });
      complete.set(vmId, { ...seated, link: { ...seated.link, gateway } });
      await options.hostSwitch?.turnTo(vmNumber(guestAddress), gateway);
      aliases += planAlias({ fleet, tag, vmId, guestAddress, gateway, mtu });
    }
    if (aliases !== '') await tryIpBatch(aliases);
  };
  const useGateways = async (latest: readonly GatewayTurn[]): Promise<void> => {
    turns = latest;
    await turnAll();
  };
  const destroy = async (vmId: string): Promise<void> => {
    await remove({ fleet, tag, vmId, ...known.get(vmId) }, options);
    complete.delete(vmId);
    known.delete(vmId);
  };
  const retain = async (wanted: ReadonlySet<string>): Promise<readonly string[]> => {
    const stale = [...known.keys()].filter((vmId) => !wanted.has(vmId));
    for (const vmId of stale) {
      options.logger.info({ vmId }, 'removing the network of a VM that is gone');
      await destroy(vmId);
    }
    return stale;
  };
  const uplink = (vmId: string): VmUplink | undefined => {
    const seated = complete.get(vmId);
    const { hostSwitch } = options;
    if (seated === undefined || hostSwitch === undefined) return undefined;
    const vm = hostVmOf(seated);
    if (vm === undefined) return undefined;
    const now = () => hostVmOf(complete.get(vmId) ?? seated) ?? vm;
    return openUplink({ vm: now, hostSwitch });
  };
  return { ensure, destroy, retain, uplink, useGateways, list: () => [...known.keys()] };
}

type Known = Pick<VmLink, 'guestAddress' | 'gateway'>;

interface Seated {
  readonly link: VmLink;
  readonly epoch: number;
  readonly stragglersFrom: string | undefined;
}

async function readKnown(host: Pick<VmPlace, 'fleet' | 'tag'>): Promise<Map<string, Known>> {
  const owned = (await listLinks()).flatMap(
    ({ ifalias }) => parseLinkAlias(host, ifalias ?? '') ?? [],
  );
  return new Map(owned.map(({ vmId, ...addresses }) => [vmId, addresses]));
}

/** Claims before the first await, so that two VMs that start together never share an address. */
function claim(
  known: Map<string, Known>,
  vm: { readonly vmId: string; readonly range: string; readonly wish: Attachment },
): Known {
  const { vmId, range, wish } = vm;
  const taken = new Set([...known.values()].map(({ guestAddress }) => guestAddress));
  const guestAddress = wish.guestAddress ?? chooseGuestAddress({ range, vmId, taken });
  if (guestAddress === undefined || taken.has(guestAddress)) {
    throw new AddressesExhaustedError(`No guest address is free in ${range} for ${vmId}.`, {
      context: { vmId, brought: wish.guestAddress },
    });
  }
  const claimed = { guestAddress, gateway: wish.gateway };
  known.set(vmId, claimed);
  return claimed;
}

async function createOrUndo(
  wanted: Seated,
  options: VmNetworkOptions,
  known: Map<string, Known>,
): Promise<void> {
  try {
    await create(wanted, options);
  } catch (cause) {
    await remove(wanted.link, options);
    known.delete(wanted.link.vmId);
    throw cause;
  }
}

async function create(wanted: Seated, options: VmNetworkOptions): Promise<void> {
  const { link } = wanted;
  const netns = netnsName(link);
  const guard = planGuard(guardOf(link, options));
  await runIpBatch(planHostSide(link));
  await Promise.all([
    runIpBatch(planInside(link), netns).then(() =>
      Promise.all([loadRuleset(guard, pathOf(netns)), seat(wanted, options)]),
    ),
    enableForwarding(pathOf(netns)),
  ]);
}

/** Found at the agent's start: every line that already holds fails and is passed over. */
async function repair(wanted: Seated, options: VmNetworkOptions): Promise<void> {
  const { link } = wanted;
  const netns = netnsName(link);
  if (!existsSync(pathOf(netns))) {
    await tryIpBatch(planRemoval(link));
    await create(wanted, options);
    return;
  }
  await tryIpBatch(planHostSide(link));
  await tryIpBatch(planInside(link), netns);
  await loadRuleset(planGuardAnew(guardOf(link, options)), pathOf(netns));
  await enableForwarding(pathOf(netns));
  await seat(wanted, options);
}

function planInside(link: VmLink): string {
  const ipv6 = link.gateway !== undefined && hasIpv6();
  return `${planVmSide(link)}${ipv6 ? planVmSide6(link.guestAddress, TAP_NAME) : ''}`;
}

/** Joins the VM's link to its gateway, where it has one. */
async function seat(wanted: Seated, { hostSwitch }: VmNetworkOptions): Promise<void> {
  const vm = hostVmOf(wanted);
  if (vm === undefined) return;
  if (hostSwitch === undefined) throw new NoSwitchError(`${wanted.link.vmId} wants a gateway.`);
  await hostSwitch.ensureVm(vm);
}

function hostVmOf({ link, epoch, stragglersFrom }: Seated): HostVm | undefined {
  const { guestAddress, gateway } = link;
  if (gateway === undefined) return undefined;
  const vni = vniOf({ number: vmNumber(guestAddress), epoch });
  const inside = { netnsPath: pathOf(netnsName(link)), guestMac: GUEST_MAC };
  return { guestAddress, gateway, vni, link: hostLinkName(link), stragglersFrom, inside };
}

async function remove(
  place: VmPlace & Partial<Known>,
  { hostSwitch }: VmNetworkOptions,
): Promise<void> {
  await tryIpBatch(planRemoval(place));
  const { guestAddress, gateway } = place;
  if (guestAddress === undefined || gateway === undefined) return;
  await hostSwitch?.removeVm(vmNumber(guestAddress));
}

function guardOf({ guestAddress, gateway }: VmLink, options: VmNetworkOptions) {
  const { dns, allow, deny = [], rate } = options;
  const hasGateway = gateway !== undefined;
  return { guestMac: GUEST_MAC, guestAddress, dns, allow, deny, rate, hasGateway };
}

function describe(link: VmLink, dns: readonly string[]): VmNetwork {
  const { guestAddress, mtu } = link;
  return {
    netnsPath: pathOf(netnsName(link)),
    tapName: TAP_NAME,
    guestAddress,
    gateway: GUEST_GATEWAY,
    mtu,
    dns: [...dns],
  };
}

function pathOf(netns: string): string {
  return `/run/netns/${netns}`;
}
