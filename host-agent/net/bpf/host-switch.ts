/**
 * A host whose switch is made of programs: each VM's packets to its gateway and back, and, after a
 * move, what still comes for it sent after it.
 *
 *   VM's namespace ─ up0 ══ link [host-link] ─▶ VXLAN ═▶ gateway
 *   VM's namespace ◀─ up0 ◀─ [host-vxlan] VXLAN ◀═ gateway, or the VM's last host
 *
 * In the VM's namespace, which `inside` names,
 *
 *   guest ─ tap0 [host-tap: ARP, guard, rate] ─▶ up0,   up0 [host-uplink] ─▶ tap0 ─ guest
 *                    └ the guest API: to the kernel and its nft guard (guest-policy.ts)
 *
 * and without `inside` the kernel's routes and that guard carry on there. All state is in the maps of the program on the VXLAN device: an agent that
 * starts again finds it there.
 */
import { closeSync } from 'node:fs';
import { fromGroups, toGroups } from '../../protocol/ipv6-groups.ts';
import type { GuestRate } from '../guest-policy.ts';
import type { HostSwitch, HostVm } from '../switch-backend.ts';
import { numberOf } from '../vni.ts';
import type { HostVmEntry } from './abi.ts';
import { attach, detach, readIndexes } from './attachment.ts';
import { countInwardDrops, type Drops, nameDrops } from './drop-reasons.ts';
import { type GuardPolicy, planGuardPrefixes } from './guard-plan.ts';
import { planGuardPrefixes6 } from './guard6-plan.ts';
import { type HostTables, openHostTables } from './host-tables.ts';
import { openObjects } from './open-objects.ts';
import { closeMaps, loadProgram, type MapSet } from './programs.ts';
import { bindMaps } from './running-maps.ts';

/** The one that all guests of a host have, in maps that know several. */
const POLICY = 1;
const POLICY_BITS = 32;
const UP = 'up0';
const TAP = 'tap0';
const NO_MAC = '00:00:00:00:00:00';
const PROGRAMS = ['host-vxlan', 'host-link', 'host-tap', 'host-uplink'] as const;

export interface BpfHostOptions {
  /** This host's own address on the underlay. */
  readonly underlay: string;
  /** The VXLAN device (`external`). */
  readonly vxlan: string;
  /** The host's namespace; undefined: the caller's. */
  readonly netnsPath?: string | undefined;
  /** Where the compiled programs are, if not where `make -C bpf` puts them. */
  readonly objects?: string | undefined;
  /** Of all guests whose VMs come with `inside`; undefined: those reach nothing. */
  readonly guard?: HostGuardPolicy | undefined;
}

export interface HostGuardPolicy {
  readonly reach: GuardPolicy;
  /** Of what a guest sends; undefined: no limit. */
  readonly rate?: GuestRate | undefined;
}

export interface BpfHost extends HostSwitch {
  drops(number: number): Drops | undefined;
  /** Lets go of the maps; packets flow on. */
  close(): void;
  /** Takes the program off the VXLAN device and forgets every VM. */
  destroy(): Promise<void>;
}

/** Throws BpfError, BpfObjectError where programs cannot be loaded; then nothing is changed. */
export async function openBpfHost(options: BpfHostOptions): Promise<BpfHost> {
  const { vxlan, underlay, netnsPath } = options;
  const { objects, maps } = await openObjects(PROGRAMS, options);
  const load = (name: (typeof PROGRAMS)[number], vm = 0) =>
    loadProgram(objects[name], maps, { VM_NUMBER: vm });
  const programs: number[] = [];
  try {
    for (const name of PROGRAMS) programs.push(load(name));
    const tables = openHostTables(maps);
    const { [vxlan]: vxlanIfindex = 0 } = await readIndexes([vxlan], netnsPath);
    tables.config.set({ index: 0 }, { vxlanIfindex, underlay });
    const [program = -1] = programs;
    bindMaps(program, maps);
    if (options.guard !== undefined) {
      replacePolicy(tables, options.guard.reach);
      replacePolicy6(tables, options.guard.reach);
    }
    await attach([{ device: vxlan, program }], netnsPath);
    return makeSwitch({ options, maps, tables, load });
  } catch (cause) {
    closeMaps(maps);
    throw cause;
  } finally {
    for (const program of programs) closeSync(program);
  }
}

type Load = (name: (typeof PROGRAMS)[number], vm?: number) => number;
interface Parts {
  readonly options: BpfHostOptions;
  readonly maps: MapSet;
  readonly tables: HostTables;
  readonly load: Load;
}

function makeSwitch({ options, maps, tables, load }: Parts): BpfHost {
  const { vxlan, netnsPath } = options;
  return {
    ensureVm: async (vm) => {
      putVm(tables, await describeVm(vm, options));
      await attachVm({ vm, netnsPath, load });
    },
    forwardTo: async (number, { host, vni }) => {
      const entry = tables.vms.get({ number });
      if (entry === undefined) return false;
      tables.vms.set({ number }, { ...entry, forwardHost: host, forwardVni: vni });
      return true;
    },
    turnTo: async (number, gateway) => {
      const entry = tables.vms.get({ number });
      if (entry === undefined) return false;
      tables.vms.set({ number }, { ...entry, gateway });
      return true;
    },
    removeVm: async (number) => {
      tables.vms.delete({ number });
      tables.buckets.delete({ number });
      tables.counters.delete({ number });
    },
    traffic: async (number) => {
      const sum = tables.counters.sum({ number });
      if (sum === undefined) return undefined;
      const { outPackets, inPackets, stragglerPackets: forwarded } = sum;
      const dropped = countInwardDrops(sum.drops);
      return { toGateway: outPackets, fromGateway: inPackets, forwarded, dropped };
    },
    drops: (number) => {
      const sum = tables.counters.sum({ number });
      return sum === undefined ? undefined : nameDrops(sum.drops);
    },
    close: () => closeMaps(maps),
    destroy: async () => {
      closeMaps(maps);
      await detach([vxlan], netnsPath);
    },
  };
}

async function describeVm(vm: HostVm, options: BpfHostOptions): Promise<HostVmEntry> {
  const { inside } = vm;
  const { netnsPath, guard } = options;
  const [{ [vm.link]: linkIfindex = 0 }, { up0 = 0, tap0 = 0 }] = await Promise.all([
    readIndexes([vm.link], netnsPath),
    inside === undefined ? { up0: 0, tap0: 0 } : readIndexes([UP, TAP], inside.netnsPath),
  ]);
  return {
    vni: vm.vni,
    guestAddress: vm.guestAddress,
    guestMac: inside?.guestMac ?? NO_MAC,
    gateway: vm.gateway,
    policy: POLICY,
    rateBytes: guard?.rate?.bytesPerSecond ?? 0,
    burstBytes: guard?.rate?.burstBytes ?? 0,
    stragglerSource: vm.stragglersFrom,
    forwardHost: undefined,
    forwardVni: 0,
    linkIfindex,
    upIfindex: up0,
    tapIfindex: tap0,
  };
}

function putVm(tables: HostTables, entry: HostVmEntry): void {
  const number = numberOf(entry.vni);
  tables.counters.ensure({ number });
  tables.buckets.add({ number }, { tokens: entry.burstBytes, filledNs: 0 });
  tables.vms.set({ number }, entry);
}

async function attachVm(place: {
  readonly vm: HostVm;
  readonly netnsPath: string | undefined;
  readonly load: Load;
}): Promise<void> {
  const { vm, netnsPath, load } = place;
  const number = numberOf(vm.vni);
  const programs: number[] = [];
  const hang = (device: string, name: Parameters<Load>[0]) => {
    const program = load(name, number);
    programs.push(program);
    return { device, program };
  };
  try {
    const { inside } = vm;
    const within = inside === undefined ? [] : [hang(TAP, 'host-tap'), hang(UP, 'host-uplink')];
    await Promise.all([
      attach([hang(vm.link, 'host-link')], netnsPath),
      inside === undefined ? undefined : attach(within, inside.netnsPath),
    ]);
  } finally {
    for (const program of programs) closeSync(program);
  }
}

/** New prefixes first, so that nothing is open or shut meanwhile that is neither before nor after. */
function replacePolicy(tables: HostTables, reach: GuardPolicy): void {
  const planned = planGuardPrefixes(reach);
  const wanted = new Set(planned.map(({ address, bits }) => `${address}/${bits}`));
  for (const { address, bits, pass, dns } of planned) {
    const rule = { pass: Number(pass), dns: Number(dns) };
    tables.guard.set({ prefixBits: POLICY_BITS + bits, policy: POLICY, address }, rule);
  }
  for (const key of tables.guard.keys()) {
    const stale = !wanted.has(`${key.address}/${key.prefixBits - POLICY_BITS}`);
    if (key.policy === POLICY && stale) tables.guard.delete(key);
  }
}

function replacePolicy6(tables: HostTables, reach: GuardPolicy): void {
  const planned = planGuardPrefixes6(reach).map(({ address, bits, pass }) => ({
    key: { prefixBits: POLICY_BITS + bits, policy: POLICY, address: fromGroups(toGroups(address)) },
    rule: { pass: Number(pass), dns: 0 },
  }));
  for (const { key, rule } of planned) tables.guard6.set(key, rule);
  for (const key of tables.guard6.keys()) {
    const { prefixBits, address } = key;
    const isPlanned = planned.some(
      (one) => one.key.prefixBits === prefixBits && one.key.address === address,
    );
    if (key.policy === POLICY && !isPlanned) tables.guard6.delete(key);
  }
}
