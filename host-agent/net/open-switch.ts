/**
 * Which switch a machine has: programs where the kernel takes them, else the kernel's own parts.
 *
 *   an earlier agent made the kernel's parts here → those, whose connections are in them
 *   programs can be loaded → they
 *   they cannot, and none hang there → the kernel's parts
 *
 * So no change of the way ends a connection. Hosts and gateways of both ways understand each other.
 */
import { readFile, writeFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { z } from 'zod';
import { ArchitectError } from '../protocol/errors.ts';
import { findProgram } from './bpf/attachment.ts';
import { openBpfGateway } from './bpf/gateway-switch.ts';
import { type HostGuardPolicy, openBpfHost } from './bpf/host-switch.ts';
import { SLICE_PORTS } from './bpf/port-slices.ts';
import type { GatewayAddresses } from './kernel/gateway-plan.ts';
import { openKernelGateway } from './kernel/gateway-switch.ts';
import { openKernelHost } from './kernel/host-switch.ts';
import { NetworkCommandError } from './net-errors.ts';
import { enableForwarding6, readNetwork, runIpBatch, tryIpBatch } from './network-commands.ts';
import type { GatewaySwitch, HostSwitch } from './switch-backend.ts';
import { planTunnel, TUNNEL_LINK, type Tunnel } from './tunnel.ts';

const RESERVED_PORTS = '/proc/sys/net/ipv4/ip_local_reserved_ports';

interface SwitchOptions extends Tunnel {
  readonly fleet: string;
  readonly logger: Logger;
  /** Where the compiled programs are, if not where `make -C bpf` puts them. */
  readonly objects?: string | undefined;
}

interface HostSwitchOptions extends SwitchOptions {
  /** Of guests whose VMs come with `inside`, where the switch is made of programs. */
  readonly guard?: HostGuardPolicy | undefined;
}

/** In the caller's namespace, where nothing is made before the first VM. */
export function openHostSwitch(options: HostSwitchOptions): HostSwitch {
  let opening: Promise<HostSwitch> | undefined;
  const open = () => {
    opening ??= chooseHostSwitch(options);
    opening.catch(() => {
      opening = undefined;
    });
    return opening;
  };
  return {
    ensureVm: async (vm) => (await open()).ensureVm(vm),
    forwardTo: async (number, next) => (await open()).forwardTo(number, next),
    turnTo: async (number, gateway) => (await open()).turnTo(number, gateway),
    removeVm: async (number) => (await open()).removeVm(number),
    traffic: async (number) => (await open()).traffic(number),
  };
}

function chooseHostSwitch(options: HostSwitchOptions): Promise<HostSwitch> {
  return choose<HostSwitch>(options, {
    table: `ar-${options.fleet}-tunnel`,
    openBpf: () => openBpfHost({ ...options, vxlan: TUNNEL_LINK }),
    openKernel: async () => openKernelHost(options),
  });
}

/**
 * In the caller's namespace. Packets of VMs that an earlier agent let in flow on meanwhile. `outside`:
 * the device that the public address is to be on; undefined: the one that it is on.
 */
export function openGatewaySwitch(
  options: SwitchOptions & GatewayAddresses & { readonly outside?: string | undefined },
): Promise<GatewaySwitch> {
  return choose<GatewaySwitch>(options, {
    table: `ar-${options.fleet}-gateway`,
    openBpf: async () => {
      const outside = options.outside ?? (await findDeviceOf(options.publicAddress));
      const opened = await openBpfGateway({ ...options, outside, vxlan: TUNNEL_LINK });
      await reserveSlicePorts();
      if (options.prefix6 !== undefined) await openWayForBigPackets(options.prefix6);
      return opened;
    },
    openKernel: () => openKernelGateway(options),
  });
}

async function choose<T>(
  options: SwitchOptions,
  ways: {
    /** In nft, of the kernel's way. */
    readonly table: string;
    readonly openBpf: () => Promise<T>;
    readonly openKernel: () => Promise<T>;
  },
): Promise<T> {
  const { logger } = options;
  if (await isTableThere(ways.table)) {
    logger.info({ switch: 'kernel' }, 'the switch goes on in nft and routes, as before');
    return await ways.openKernel();
  }
  await tryIpBatch(`${planTunnel(options).join('\n')}\n`);
  try {
    const opened = await ways.openBpf();
    logger.info({ switch: 'bpf' }, 'the switch is made of programs in the kernel');
    return opened;
  } catch (error) {
    if (!(error instanceof ArchitectError)) throw error;
    if ((await findProgram(TUNNEL_LINK, undefined)) !== undefined) throw error;
    logger.warn({ switch: 'kernel', why: error.message }, 'the switch is made of nft and routes');
    return await ways.openKernel();
  }
}

async function isTableThere(name: string): Promise<boolean> {
  const tables = await readNetwork('nft', ['list', 'tables', 'inet']);
  return tables.split('\n').includes(`table inet ${name}`);
}

const Links = z.array(z.object({ ifname: z.string().optional() }));

async function findDeviceOf(address: string): Promise<string> {
  const shown = await readNetwork('ip', ['-j', 'addr', 'show', 'to', `${address}/32`]);
  const names = Links.parse(JSON.parse(shown)).flatMap(({ ifname }) => ifname ?? []);
  const [name] = names;
  if (name === undefined) throw new NetworkCommandError(`No interface has the address ${address}.`);
  return name;
}

/**
 * Packets that are too big for the tunnel are left to the kernel (bpf/gateway-outside.c): it tells
 * the peer so because the route that they would take has the tunnel's MTU.
 */
async function openWayForBigPackets(prefix64: string): Promise<void> {
  await enableForwarding6();
  await runIpBatch(`route replace ${prefix64} dev ${TUNNEL_LINK}\n`);
}

/** The gateway's own programs get no port of a slice by chance. */
async function reserveSlicePorts(): Promise<void> {
  const before = (await readFile(RESERVED_PORTS, 'utf8')).trim();
  const ours = `${SLICE_PORTS.first}-${SLICE_PORTS.last}`;
  await writeFile(RESERVED_PORTS, before === '' ? ours : `${before},${ours}`);
}
