/**
 * A gateway whose switch is made of programs: where each VM is now, and the public side of its flows.
 *
 *   host ═▶ VXLAN [gateway-vxlan: fence, source NAT] ─▶ outside
 *   host ◀═ VXLAN ◀─ [gateway-outside: reverse NAT, mapped ports] outside
 *
 * A move is `flip`, one update of one entry. A VM on no host (parked) has its packets dropped, never
 * refused. Guests speak IPv6 where the operator gave a prefix (bpf/carry6.h). Ports of slices (port-slices.ts) belong to the switch alone. All state is in the maps of
 * the program on the VXLAN device: an agent that starts again finds it there.
 */
import { closeSync } from 'node:fs';
import { publicGroups } from '../guest-ipv6.ts';
import type { FlowTable, GatewaySwitch, GatewayVm, VmSeat } from '../switch-backend.ts';
import type { GatewayVmEntry } from './abi.ts';
import { attach, detach, readIndexes } from './attachment.ts';
import { type Drops, nameDrops } from './drop-reasons.ts';
import { exportFlows, forgetFlows, importFlow } from './flows.ts';
import { type GatewayTables, openGatewayTables } from './gateway-tables.ts';
import { flattenIdleSeconds, LINUX_IDLE_SECONDS } from './idle-flows.ts';
import { openObjects } from './open-objects.ts';
import { SLICE_PORTS, sliceOf } from './port-slices.ts';
import { closeMaps, loadProgram, type MapSet } from './programs.ts';
import { bindMaps } from './running-maps.ts';
import { listServices, putServices } from './services.ts';
import { accountOf, type VmTotals } from './vm-account.ts';

const PROGRAMS = ['gateway-vxlan', 'gateway-outside'] as const;

export interface BpfGatewayOptions {
  /** This gateway's own address on the underlay. */
  readonly underlay: string;
  /** The VXLAN device (`external`), and the device that the public address is on. */
  readonly vxlan: string;
  readonly outside: string;
  /** What guests' connections come from, as the outside sees them. */
  readonly publicAddress: string;
  /** The operator's /64 for guests; undefined: they have no IPv6. */
  readonly prefix6?: string | undefined;
  /** Of the VXLAN device. */
  readonly mtu: number;
  /** The gateway's namespace; undefined: the caller's. */
  readonly netnsPath?: string | undefined;
  /** Where the compiled programs are, if not where `make -C bpf` puts them. */
  readonly objects?: string | undefined;
}

export interface BpfGateway extends GatewaySwitch {
  /** Through whichever host. */
  totals(number: number): VmTotals | undefined;
  /** Drops of all packets, those that are no VM's too. */
  drops(): Drops;
  readonly flows: FlowTable;
  /** Lets go of the maps; packets flow on. */
  close(): void;
  /** Takes the programs off the devices and forgets all. */
  destroy(): Promise<void>;
}

/** Throws BpfError, BpfObjectError where programs cannot be loaded; then nothing is changed. */
export async function openBpfGateway(options: BpfGatewayOptions): Promise<BpfGateway> {
  const { vxlan, outside, netnsPath } = options;
  const { objects, maps } = await openObjects(PROGRAMS, options);
  const programs: number[] = [];
  try {
    for (const name of PROGRAMS) programs.push(loadProgram(objects[name], maps));
    const [inward = -1, outward = -1] = programs;
    const tables = openGatewayTables(maps);
    await configure(tables, options);
    bindMaps(inward, maps);
    const attachments = [
      { device: vxlan, program: inward },
      { device: outside, program: outward },
    ];
    await attach(attachments, netnsPath);
    return makeSwitch(options, maps, tables);
  } catch (cause) {
    closeMaps(maps);
    throw cause;
  } finally {
    for (const program of programs) closeSync(program);
  }
}

async function configure(tables: GatewayTables, options: BpfGatewayOptions): Promise<void> {
  const { vxlan, outside, underlay, publicAddress, netnsPath, prefix6, mtu } = options;
  const indexes = await readIndexes([vxlan, outside], netnsPath);
  const config = {
    vxlanIfindex: indexes[vxlan] ?? 0,
    outsideIfindex: indexes[outside] ?? 0,
    underlay,
    idleSeconds: flattenIdleSeconds(LINUX_IDLE_SECONDS),
    public6: prefix6 === undefined ? [] : publicGroups(prefix6),
    mtu,
  };
  tables.config.set({ index: 0 }, config);
  tables.ports.set({ address: publicAddress }, SLICE_PORTS);
  for (const key of tables.ports.keys())
    if (key.address !== publicAddress) tables.ports.delete(key);
}

function makeSwitch(options: BpfGatewayOptions, maps: MapSet, tables: GatewayTables): BpfGateway {
  const { vxlan, outside, netnsPath } = options;
  return {
    ensureVm: async (vm) => putVm(tables, vm, options.publicAddress),
    flip: async (number, to) => flip(tables, number, to),
    removeVm: async (number) => dropVm(tables, number),
    traffic: async (number, { vni }) => {
      if (tables.vms.get({ number }) === undefined) return undefined;
      return tables.seats.sum({ vni }) ?? { toHost: 0, fromHost: 0 };
    },
    list: async () => listVms(tables),
    totals: (number) => readTotals(tables, number),
    drops: () => nameDrops(tables.readDrops()),
    flows: { all: () => exportFlows(tables), put: (flow) => importFlow(tables, flow) },
    account: async (number) => {
      const totals = readTotals(tables, number);
      return totals && accountOf(totals, tables.readPrefixes(number));
    },
    close: () => closeMaps(maps),
    destroy: async () => {
      closeMaps(maps);
      await detach([vxlan, outside], netnsPath);
    },
  };
}

/** To where it is already: nothing changes, the previous host is still the previous one. */
function flip(tables: GatewayTables, number: number, to: VmSeat): boolean {
  const entry = tables.vms.get({ number });
  if (entry === undefined) return false;
  if (entry.host === to.host && entry.vni === to.vni) return true;
  const flipped = { ...entry, ...to, previousHost: entry.host, previousVni: entry.vni };
  putEntry(tables, number, { before: entry, after: flipped });
  return true;
}

function putVm(tables: GatewayTables, vm: GatewayVm, publicAddress: string): void {
  const { number, seat, previous, guestAddress, ports = [] } = vm;
  tables.counters.ensure({ number });
  const before = tables.vms.get({ number });
  const after = {
    vni: seat?.vni ?? 0,
    host: seat?.host,
    previousVni: previous?.vni ?? 0,
    previousHost: previous?.host,
    guestAddress,
    publicAddress,
    ...sliceOf(number),
    services: ports.length,
  };
  if (ports.length > 0 || (before?.services ?? 0) > 0)
    putServices(tables, { number, guestAddress, publicAddress, services: ports });
  putEntry(tables, number, { before, after });
}

/** A seat has counters before a packet can come from there, and while it is one of the VM's. */
function putEntry(
  tables: GatewayTables,
  number: number,
  change: { readonly before: GatewayVmEntry | undefined; readonly after: GatewayVmEntry },
): void {
  const [had, has] = [vnisOf(change.before), vnisOf(change.after)];
  for (const vni of has) if (!had.includes(vni)) tables.seats.ensure({ vni });
  tables.vms.set({ number }, change.after);
  for (const vni of had) if (!has.includes(vni)) tables.seats.delete({ vni });
}

function vnisOf(entry: GatewayVmEntry | undefined): readonly number[] {
  return [
    ...(entry?.host === undefined ? [] : [entry.vni]),
    ...(entry?.previousHost === undefined ? [] : [entry.previousVni]),
  ];
}

function dropVm(tables: GatewayTables, number: number): void {
  const entry = tables.vms.get({ number });
  tables.vms.delete({ number });
  if (entry !== undefined) putServices(tables, { number, ...entry, services: [] });
  for (const vni of vnisOf(entry)) tables.seats.delete({ vni });
  forgetFlows(tables, number);
  tables.forgetPrefixes(number);
  tables.counters.delete({ number });
}

function readTotals(tables: GatewayTables, number: number): VmTotals | undefined {
  const sum = tables.counters.sum({ number });
  if (sum === undefined) return undefined;
  const { outPackets, outBytes, inPackets, inBytes, drops } = sum;
  return { outPackets, outBytes, inPackets, inBytes, drops: nameDrops(drops) };
}

function listVms(tables: GatewayTables): readonly GatewayVm[] {
  const services = listServices(tables);
  return tables.vms.keys().flatMap(({ number }) => {
    const entry = tables.vms.get({ number });
    if (entry === undefined) return [];
    const { guestAddress } = entry;
    const previous = seatOf(entry.previousHost, entry.previousVni);
    const ports = services.get(number);
    return [
      {
        ...{ number, guestAddress, seat: seatOf(entry.host, entry.vni) },
        ...(previous && { previous }),
        ...(ports && { ports }),
      },
    ];
  });
}

function seatOf(host: string | undefined, vni: number): VmSeat | undefined {
  return host === undefined ? undefined : { host, vni };
}
