/**
 * The networks of all VMs of one host: makes, lists and removes them. It holds which addresses are
 * taken; the kernel holds everything else, so a restarted agent reads it all back.
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
import { GUEST_MAC } from '../protocol/guest-contract.ts';
import type { VmNetwork } from '../vm/vm-driver.ts';
import { chooseGuestAddress } from './guest-addresses.ts';
import { GUEST_GATEWAY, planGuard, planGuardAnew } from './guest-policy.ts';
import { planHostGuard } from './host-guard.ts';
import { AddressesExhaustedError } from './net-errors.ts';
import {
  enableForwarding,
  listLinks,
  loadRuleset,
  runIpBatch,
  tryIpBatch,
} from './network-commands.ts';
import {
  guestMtu,
  netnsName,
  parseLinkAlias,
  planHostSide,
  planRemoval,
  planVmSide,
  TAP_NAME,
  type VmLink,
  type VmPlace,
} from './vm-link-plan.ts';

export const GUEST_RANGE = '10.201.0.0/16';

export interface VmNetworkOptions {
  readonly fleet: string;
  /** This host's own, among the hosts of its fleet that may share the machine. */
  readonly tag: string;
  readonly underlayMtu: number;
  /** Resolvers for guests, as `chooseResolvers` gives them. */
  readonly dns: readonly string[];
  readonly allow: readonly string[];
  readonly deny?: readonly string[];
  readonly guestRange?: string;
  readonly guestMac?: string;
  readonly logger: Logger;
}

export interface VmNetworks {
  /**
   * The VM's network, made if it is not there. A VM that comes from elsewhere brings its address:
   * AddressesExhaustedError when another VM has that one here. On failure nothing of it is left.
   */
  ensure(vmId: string, guestAddress?: string): Promise<VmNetwork>;
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
  const addresses = await readAddresses({ fleet, tag });
  const complete = new Set<string>();

  const ensure = async (vmId: string, brought?: string): Promise<VmNetwork> => {
    const known = addresses.get(vmId);
    const guestAddress = known ?? claimAddress(addresses, { vmId, range: guestRange, brought });
    const wanted = { fleet, tag, vmId, guestAddress, mtu: guestMtu(options.underlayMtu) };
    if (known === undefined) await createOrUndo(wanted, options, addresses);
    else if (!complete.has(vmId)) await repair(wanted, options);
    complete.add(vmId);
    return describe(wanted, options.dns);
  };
  const destroy = async (vmId: string): Promise<void> => {
    await tryIpBatch(planRemoval({ fleet, tag, vmId }));
    complete.delete(vmId);
    addresses.delete(vmId);
  };
  const retain = async (wanted: ReadonlySet<string>): Promise<readonly string[]> => {
    const stale = [...addresses.keys()].filter((vmId) => !wanted.has(vmId));
    for (const vmId of stale) {
      options.logger.info({ vmId }, 'removing the network of a VM that is gone');
      await destroy(vmId);
    }
    return stale;
  };
  return { ensure, destroy, retain, list: () => [...addresses.keys()] };
}

async function readAddresses(host: Pick<VmPlace, 'fleet' | 'tag'>): Promise<Map<string, string>> {
  const owned = (await listLinks()).flatMap(
    ({ ifalias }) => parseLinkAlias(host, ifalias ?? '') ?? [],
  );
  return new Map(owned.map(({ vmId, guestAddress }) => [vmId, guestAddress]));
}

/** Claims before the first await, so that two VMs that start together never share an address. */
function claimAddress(
  addresses: Map<string, string>,
  vm: { readonly vmId: string; readonly range: string; readonly brought: string | undefined },
): string {
  const { vmId, range, brought } = vm;
  const taken = new Set(addresses.values());
  const address = brought ?? chooseGuestAddress({ range, vmId, taken });
  if (address === undefined || taken.has(address)) {
    throw new AddressesExhaustedError(`No guest address is free in ${range} for ${vmId}.`, {
      context: { vmId, brought },
    });
  }
  addresses.set(vmId, address);
  return address;
}

async function createOrUndo(
  link: VmLink,
  options: VmNetworkOptions,
  addresses: Map<string, string>,
): Promise<void> {
  try {
    await create(link, options);
  } catch (cause) {
    await tryIpBatch(planRemoval(link));
    addresses.delete(link.vmId);
    throw cause;
  }
}

async function create(link: VmLink, options: VmNetworkOptions): Promise<void> {
  const netns = netnsName(link);
  const guard = planGuard(guardOf(link, options));
  await runIpBatch(planHostSide(link));
  await Promise.all([
    runIpBatch(planVmSide(link), netns).then(() => loadRuleset(guard, pathOf(netns))),
    enableForwarding(pathOf(netns)),
  ]);
}

/** Found at the agent's start: every line that already holds fails and is passed over. */
async function repair(link: VmLink, options: VmNetworkOptions): Promise<void> {
  const netns = netnsName(link);
  if (!existsSync(pathOf(netns))) {
    await tryIpBatch(planRemoval(link));
    await create(link, options);
    return;
  }
  await tryIpBatch(planHostSide(link));
  await tryIpBatch(planVmSide(link), netns);
  await loadRuleset(planGuardAnew(guardOf(link, options)), pathOf(netns));
  await enableForwarding(pathOf(netns));
}

function guardOf({ guestAddress }: VmLink, options: VmNetworkOptions) {
  const { dns, allow, deny = [], guestMac = GUEST_MAC } = options;
  return { guestMac, guestAddress, dns, allow, deny };
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
