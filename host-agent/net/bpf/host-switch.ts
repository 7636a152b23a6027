/**
 * The switch on a host: each VM's packets to its gateway and back, its guard, and, after a move,
 * what still comes for it sent after it.
 *
 *   guest ─ tap0 [host-tap] ─▶ up0 ══ link [host-link] ─▶ VXLAN ═▶ gateway
 *   guest ◀─ tap0 ◀─ [host-uplink] up0 ══ link ◀─ [host-vxlan] VXLAN ◀═ gateway, or the VM's last host
 *
 * All state is in maps pinned in one folder: an agent that starts again finds it there, and packets
 * flow meanwhile. The devices are made by others (vm-link-plan.ts); link, up0 and tap0 should take
 * what the underlay's MTU carries, since a peer may send more than the guest's own MTU.
 */
import { closeSync } from 'node:fs';
import {
  guardKey,
  guardRule,
  type HostVmEntry,
  hostBucket,
  hostConfig,
  hostVm,
  index,
  vmCounters,
  vmNumber,
} from './abi.ts';
import { attach, detach, readIndexes } from './attachment.ts';
import { type Drops, nameDrops } from './drop-reasons.ts';
import { type GuardPolicy, planGuardPrefixes } from './guard-plan.ts';
import { ensurePinFolder, removePins } from './pins.ts';
import {
  closeMaps,
  loadProgram,
  type MapSet,
  openMaps,
  type ProgramName,
  readObject,
} from './programs.ts';
import { counterMap, mapNamed, typedMap } from './typed-map.ts';
import { numberOf } from './vni.ts';

const POLICY_BITS = 32;
const UP = 'up0';
const TAP = 'tap0';

export interface HostSwitchOptions {
  /** This host's own folder of pins, below PIN_ROOT. */
  readonly pinFolder: string;
  /** The VXLAN device (`external`). */
  readonly vxlan: string;
  /** The host's namespace; undefined: the caller's. */
  readonly netnsPath?: string;
  /** Where the compiled programs are, if not where `make -C bpf` puts them. */
  readonly objects?: string;
}

export interface HostVm {
  readonly vni: number;
  readonly guestAddress: string;
  readonly guestMac: string;
  /** Underlay address. */
  readonly gateway: string;
  /** The VM's link in the host's namespace; `up0` and `tap0` are in the VM's. */
  readonly link: string;
  readonly netnsPath: string;
  /** As given to `setPolicy`. A guest of an unknown one reaches nothing. */
  readonly policy: number;
  readonly rate?: { readonly bytesPerSecond: number; readonly burstBytes: number };
  /** Underlay address of the host that the VM came from: what that one forwards is let in. */
  readonly stragglerSource?: string;
}

export interface HostVmCounters {
  readonly outPackets: number;
  readonly outBytes: number;
  readonly inPackets: number;
  readonly inBytes: number;
  /** Sent after the VM, to its next host. */
  readonly stragglerPackets: number;
  readonly drops: Drops;
}

export interface HostSwitch {
  /** Replaces what guests of this policy may reach. */
  setPolicy(policy: number, reach: GuardPolicy): void;
  /** The VM is here and its programs are on its devices. Idempotent; ends an earlier `forwardTo`. */
  ensureVm(vm: HostVm): Promise<void>;
  /** What comes for the VM from now on goes to that host. False: there is no such VM. */
  forwardTo(number: number, next: { readonly host: string; readonly vni: number }): boolean;
  /** Idempotent. The VM's programs drop everything from then on, until its devices go. */
  removeVm(number: number): void;
  counters(number: number): HostVmCounters | undefined;
  /** What the kernel holds, by the VM's number. */
  list(): ReadonlyMap<number, HostVmEntry>;
  /** Lets go of the maps; packets flow on. */
  close(): void;
  /** Takes the program off the VXLAN device and forgets every VM. */
  destroy(): Promise<void>;
}

/** Loads or finds the host's maps, and hangs its program on the VXLAN device. */
export async function openHostSwitch(options: HostSwitchOptions): Promise<HostSwitch> {
  const { pinFolder, vxlan, netnsPath } = options;
  await ensurePinFolder(pinFolder);
  const maps: MapSet = new Map();
  const load = loadFrom(options, maps);
  const program = load('host-vxlan');
  try {
    const tables = openTables(load, maps);
    const { [vxlan]: vxlanIfindex } = await readIndexes([vxlan], netnsPath);
    tables.config.set({ index: 0 }, { vxlanIfindex: vxlanIfindex ?? 0 });
    await attach({ attachments: [{ device: vxlan, program }], pinFolder, netnsPath });
    return makeSwitch({ options, maps, tables, load });
  } catch (cause) {
    closeMaps(maps);
    throw cause;
  } finally {
    closeSync(program);
  }
}

type Load = (name: ProgramName, vm?: number) => number;

function loadFrom({ objects, pinFolder }: HostSwitchOptions, maps: MapSet): Load {
  return (name, vm = 0) => {
    const object = readObject(name, objects);
    openMaps(object, maps, pinFolder);
    return loadProgram(object, maps, { VM_NUMBER: vm });
  };
}

type Tables = ReturnType<typeof openTables>;

/** The program of the VMs' taps brings all the maps that the others lack. */
function openTables(load: Load, maps: MapSet) {
  closeSync(load('host-tap'));
  return {
    config: typedMap(mapNamed(maps, 'host_config'), index, hostConfig),
    vms: typedMap(mapNamed(maps, 'host_vms'), vmNumber, hostVm),
    links: typedMap(mapNamed(maps, 'host_links'), index, vmNumber),
    buckets: typedMap(mapNamed(maps, 'host_buckets'), vmNumber, hostBucket),
    guard: typedMap(mapNamed(maps, 'host_guard'), guardKey, guardRule),
    counters: counterMap(mapNamed(maps, 'vm_counters'), vmNumber, vmCounters),
  };
}

interface Parts {
  readonly options: HostSwitchOptions;
  readonly maps: MapSet;
  readonly tables: Tables;
  readonly load: Load;
}

function makeSwitch({ options, maps, tables, load }: Parts): HostSwitch {
  const { pinFolder, vxlan, netnsPath } = options;
  return {
    setPolicy: (policy, reach) => replacePolicy(tables, policy, reach),
    ensureVm: async (vm) => {
      const entry = await describeVm(vm, netnsPath);
      putVm(tables, entry);
      await attachVm({ vm, pinFolder, netnsPath, load });
    },
    forwardTo: (number, { host, vni }) => {
      const entry = tables.vms.get({ number });
      if (entry === undefined) return false;
      tables.vms.set({ number }, { ...entry, forwardHost: host, forwardVni: vni });
      return true;
    },
    removeVm: (number) => dropVm(tables, number),
    counters: (number) => {
      const sum = tables.counters.sum({ number });
      return sum === undefined ? undefined : { ...sum, drops: nameDrops(sum.drops) };
    },
    list: () => listVms(tables),
    close: () => closeMaps(maps),
    destroy: async () => {
      closeMaps(maps);
      await detach([vxlan], netnsPath);
      removePins(pinFolder);
    },
  };
}

async function describeVm(vm: HostVm, netnsPath: string | undefined): Promise<HostVmEntry> {
  const [host, inside] = await Promise.all([
    readIndexes([vm.link], netnsPath),
    readIndexes([UP, TAP], vm.netnsPath),
  ]);
  return {
    vni: vm.vni,
    guestAddress: vm.guestAddress,
    guestMac: vm.guestMac,
    gateway: vm.gateway,
    policy: vm.policy,
    rateBytes: vm.rate?.bytesPerSecond ?? 0,
    burstBytes: vm.rate?.burstBytes ?? 0,
    stragglerSource: vm.stragglerSource,
    forwardHost: undefined,
    forwardVni: 0,
    linkIfindex: host[vm.link] ?? 0,
    upIfindex: inside[UP],
    tapIfindex: inside[TAP],
  };
}

function putVm(tables: Tables, entry: HostVmEntry): void {
  const number = numberOf(entry.vni);
  tables.counters.ensure({ number });
  tables.buckets.add({ number }, { tokens: entry.burstBytes, filledNs: 0 });
  tables.vms.set({ number }, entry);
  tables.links.set({ index: entry.linkIfindex }, { number });
}

async function attachVm(place: {
  readonly vm: HostVm;
  readonly pinFolder: string;
  readonly netnsPath: string | undefined;
  readonly load: Load;
}): Promise<void> {
  const { vm, pinFolder, netnsPath, load } = place;
  const number = numberOf(vm.vni);
  const programs: number[] = [];
  const hang = (device: string, name: ProgramName) => {
    const program = load(name, number);
    programs.push(program);
    return { device, program };
  };
  try {
    await Promise.all([
      attach({ attachments: [hang(vm.link, 'host-link')], pinFolder, netnsPath }),
      attach({
        attachments: [hang(TAP, 'host-tap'), hang(UP, 'host-uplink')],
        pinFolder,
        netnsPath: vm.netnsPath,
      }),
    ]);
  } finally {
    for (const program of programs) closeSync(program);
  }
}

function dropVm(tables: Tables, number: number): void {
  const entry = tables.vms.get({ number });
  tables.vms.delete({ number });
  tables.buckets.delete({ number });
  tables.counters.delete({ number });
  if (entry === undefined) return;
  const link = { index: entry.linkIfindex };
  if (tables.links.get(link)?.number === number) tables.links.delete(link);
}

/** New prefixes first, so that nothing is open or shut meanwhile that is neither before nor after. */
function replacePolicy(tables: Tables, policy: number, reach: GuardPolicy): void {
  const planned = planGuardPrefixes(reach);
  const wanted = new Set(planned.map(({ address, bits }) => `${address}/${bits}`));
  for (const { address, bits, pass, dns } of planned) {
    const rule = { pass: Number(pass), dns: Number(dns) };
    tables.guard.set({ prefixBits: POLICY_BITS + bits, policy, address }, rule);
  }
  for (const key of tables.guard.keys()) {
    const stale = !wanted.has(`${key.address}/${key.prefixBits - POLICY_BITS}`);
    if (key.policy === policy && stale) tables.guard.delete(key);
  }
}

function listVms(tables: Tables): ReadonlyMap<number, HostVmEntry> {
  return new Map(
    tables.vms.keys().flatMap(({ number }) => {
      const entry = tables.vms.get({ number });
      return entry === undefined ? [] : [[number, entry] as const];
    }),
  );
}
