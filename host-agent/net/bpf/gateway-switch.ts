/**
 * The switch on a gateway: where each VM is now, and the public side of its flows.
 *
 *   host ═▶ VXLAN [gateway-vxlan: fence, source NAT] ─▶ outside
 *   host ◀═ VXLAN ◀─ [gateway-outside: reverse NAT, mapped ports] outside
 *
 * A move is `flip`, one update of one entry: from then on packets go to the new host, and those of
 * both hosts pass; `fence` ends that, when the new host has the VM's token. To abort, flip back and
 * fence. A VM on no host (parked) has its packets dropped, never refused.
 *
 * Ports of slices belong to the switch alone: the gateway's kernel must not hand them out
 * (net.ipv4.ip_local_reserved_ports). All state is in maps pinned in one folder.
 */
import { closeSync } from 'node:fs';
import type { GatewayVmEntry } from './abi.ts';
import { attach, detach, readIndexes } from './attachment.ts';
import { type Drops, nameDrops } from './drop-reasons.ts';
import { exportFlows, type Flow, forgetFlows, importFlow, sweepFlows } from './flows.ts';
import { type GatewayTables, openGatewayTables } from './gateway-tables.ts';
import { flattenIdleSeconds, LINUX_IDLE_SECONDS } from './idle-flows.ts';
import { ensurePinFolder, removePins } from './pins.ts';
import { closeMaps, loadProgram, type MapSet, openMaps, readObject } from './programs.ts';
import { listServices, putServices, type Service } from './services.ts';

export interface GatewaySwitchOptions {
  /** This gateway's own folder of pins, below PIN_ROOT. */
  readonly pinFolder: string;
  /** The VXLAN device (`external`), and the device that public addresses are on. */
  readonly vxlan: string;
  readonly outside: string;
  /** Public addresses, each with the range of ports that slices are cut from. */
  readonly publicAddresses: readonly {
    readonly address: string;
    readonly firstPort: number;
    readonly lastPort: number;
  }[];
  /** The gateway's namespace; undefined: the caller's. */
  readonly netnsPath?: string;
  /** Where the compiled programs are, if not where `make -C bpf` puts them. */
  readonly objects?: string;
}

/** Where a VM is: the host's underlay address, and the VNI of its epoch there. */
export interface VmSeat {
  readonly host: string;
  readonly vni: number;
}

export interface GatewayVm {
  readonly number: number;
  /** Undefined: parked. */
  readonly seat: VmSeat | undefined;
  /** A host whose packets still pass. */
  readonly previous?: VmSeat | undefined;
  readonly guestAddress: string;
  readonly publicAddress: string;
  /** The VM's own of the public address's ports, for what it begins. */
  readonly slice: { readonly firstPort: number; readonly count: number };
  readonly services: readonly Service[];
}

export interface GatewayVmCounters {
  readonly outPackets: number;
  readonly outBytes: number;
  readonly inPackets: number;
  readonly inBytes: number;
  readonly drops: Drops;
}

export interface GatewaySwitch {
  /** Idempotent. Flows that the VM has go on. */
  ensureVm(vm: GatewayVm): void;
  /** Two system calls, the second of which is the move. False: there is no such VM. */
  flip(number: number, to: VmSeat): boolean;
  /** Only the VM's host of now may send for it. False: there is no such VM. */
  fence(number: number): boolean;
  /** Idempotent. Its flows and mapped ports go too. */
  removeVm(number: number): void;
  counters(number: number): GatewayVmCounters | undefined;
  /** Drops of all packets, those that are no VM's too. */
  drops(): Drops;
  /** What the kernel holds. */
  list(): readonly GatewayVm[];
  /** All flows, for a standby; `importFlow` puts one there, with its age. */
  exportFlows(): Generator<Flow>;
  importFlow(flow: Flow): void;
  /** Forgets flows that have been silent for too long; answers how many. To be called now and then. */
  sweep(): number;
  /** Bytes and packets by peers' /24, as far as they are remembered. */
  prefixes(number: number): ReturnType<GatewayTables['readPrefixes']>;
  /** Lets go of the maps; packets flow on. */
  close(): void;
  /** Takes the programs off the devices and forgets all. */
  destroy(): Promise<void>;
}

/** Loads or finds the gateway's maps, and hangs its programs on both devices. */
export async function openGatewaySwitch(options: GatewaySwitchOptions): Promise<GatewaySwitch> {
  const { pinFolder, vxlan, outside, netnsPath, objects } = options;
  await ensurePinFolder(pinFolder);
  const maps: MapSet = new Map();
  const programs: number[] = [];
  const load = (device: string, name: 'gateway-vxlan' | 'gateway-outside') => {
    const object = readObject(name, objects);
    openMaps(object, maps, pinFolder);
    const program = loadProgram(object, maps);
    programs.push(program);
    return { device, program };
  };
  try {
    const attachments = [load(vxlan, 'gateway-vxlan'), load(outside, 'gateway-outside')];
    const tables = openGatewayTables(maps);
    const indexes = await readIndexes([vxlan, outside], netnsPath);
    configure(tables, options, indexes);
    await attach({ attachments, pinFolder, netnsPath });
    return makeSwitch(options, maps, tables);
  } catch (cause) {
    closeMaps(maps);
    throw cause;
  } finally {
    for (const program of programs) closeSync(program);
  }
}

function configure(
  tables: GatewayTables,
  { vxlan, outside, publicAddresses }: GatewaySwitchOptions,
  indexes: Readonly<Record<string, number>>,
): void {
  tables.config.set(
    { index: 0 },
    {
      vxlanIfindex: indexes[vxlan] ?? 0,
      outsideIfindex: indexes[outside] ?? 0,
      idleSeconds: flattenIdleSeconds(LINUX_IDLE_SECONDS),
    },
  );
  const wanted = new Set(publicAddresses.map(({ address }) => address));
  for (const { address, firstPort, lastPort } of publicAddresses) {
    tables.ports.set({ address }, { first: firstPort, last: lastPort });
  }
  for (const key of tables.ports.keys()) if (!wanted.has(key.address)) tables.ports.delete(key);
}

function makeSwitch(
  { pinFolder, vxlan, outside, netnsPath }: GatewaySwitchOptions,
  maps: MapSet,
  tables: GatewayTables,
): GatewaySwitch {
  const change = (number: number, to: (entry: GatewayVmEntry) => GatewayVmEntry) => {
    const entry = tables.vms.get({ number });
    if (entry === undefined) return false;
    tables.vms.set({ number }, to(entry));
    return true;
  };
  return {
    ensureVm: (vm) => putVm(tables, vm),
    flip: (number, to) => change(number, (entry) => flipped(entry, to)),
    fence: (number) => change(number, fenced),
    removeVm: (number) => dropVm(tables, number),
    counters: (number) => {
      const sum = tables.counters.sum({ number });
      if (sum === undefined) return undefined;
      const { outPackets, outBytes, inPackets, inBytes, drops } = sum;
      return { outPackets, outBytes, inPackets, inBytes, drops: nameDrops(drops) };
    },
    drops: () => nameDrops(tables.readDrops()),
    list: () => listVms(tables),
    exportFlows: () => exportFlows(tables),
    importFlow: (flow) => importFlow(tables, flow),
    sweep: () => sweepFlows(tables),
    prefixes: (number) => tables.readPrefixes(number),
    close: () => closeMaps(maps),
    destroy: async () => {
      closeMaps(maps);
      await detach([vxlan, outside], netnsPath);
      removePins(pinFolder);
    },
  };
}

/** A second flip to the same place changes nothing: the previous host is still the previous one. */
function flipped(entry: GatewayVmEntry, to: VmSeat): GatewayVmEntry {
  if (entry.host === to.host && entry.vni === to.vni) return entry;
  return { ...entry, ...to, previousHost: entry.host, previousVni: entry.vni };
}

function fenced(entry: GatewayVmEntry): GatewayVmEntry {
  return { ...entry, previousHost: undefined, previousVni: 0 };
}

function putVm(tables: GatewayTables, vm: GatewayVm): void {
  const { number, seat, previous, guestAddress, publicAddress, slice, services } = vm;
  tables.counters.ensure({ number });
  putServices(tables, vm);
  tables.vms.set(
    { number },
    {
      vni: seat?.vni ?? 0,
      host: seat?.host,
      previousVni: previous?.vni ?? 0,
      previousHost: previous?.host,
      guestAddress,
      publicAddress,
      firstPort: slice.firstPort,
      portCount: slice.count,
      services: services.length,
    },
  );
}

function dropVm(tables: GatewayTables, number: number): void {
  const entry = tables.vms.get({ number });
  tables.vms.delete({ number });
  if (entry !== undefined) putServices(tables, { number, ...entry, services: [] });
  forgetFlows(tables, number);
  tables.forgetPrefixes(number);
  tables.counters.delete({ number });
}

function listVms(tables: GatewayTables): readonly GatewayVm[] {
  const services = listServices(tables);
  return tables.vms.keys().flatMap(({ number }) => {
    const entry = tables.vms.get({ number });
    if (entry === undefined) return [];
    const { guestAddress, publicAddress, firstPort, portCount: count } = entry;
    const seat = seatOf(entry.host, entry.vni);
    const previous = seatOf(entry.previousHost, entry.previousVni);
    const slice = { firstPort, count };
    const mapped = services.get(number) ?? [];
    return [{ number, seat, previous, guestAddress, publicAddress, slice, services: mapped }];
  });
}

function seatOf(host: string | undefined, vni: number): VmSeat | undefined {
  return host === undefined ? undefined : { host, vni };
}
