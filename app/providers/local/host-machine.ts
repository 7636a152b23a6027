/**
 * One simulated machine: a network namespace with a port on the fleet's bridge. `removeMachine` is
 * what a cloud's power-off is: every process in the host and in its VMs dies, then everything the
 * host had goes, whoever made it.
 */
import { existsSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { removeCgroups } from './cgroups.ts';
import { runCommand, runIp } from './commands.ts';
import { LocalCleanupError } from './local-errors.ts';
import { hostDir, hostLink, hostNetns, NETNS_DIR, netnsPrefix } from './local-names.ts';
import type { LocalNetwork } from './local-network.ts';
import type { FleetHome } from './machine-record.ts';
import { unmountBelow } from './mounts.ts';
import { commandOf, endProcesses, listProcessesIn } from './processes.ts';

export const METADATA_ADDRESS = '169.254.169.254';

export interface Machine {
  readonly network: LocalNetwork;
  readonly machineId: string;
  readonly index: number;
}

/** Makes the namespace and plugs it in. On failure parts may be left: `removeMachine` them. */
export async function createMachine(
  { network, machineId, index }: Machine,
  signal: AbortSignal,
): Promise<void> {
  const { fleet, bridge, mtu } = network;
  const netns = hostNetns(fleet, machineId);
  const link = hostLink(fleet, machineId);
  await runIp(
    [
      `netns add ${netns}`,
      `link add ${link} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${netns}`,
      `link set ${link} master ${bridge} addrgenmode none up`,
    ],
    { signal },
  );
  const inside = [
    'link set lo up',
    `addr add ${METADATA_ADDRESS}/32 dev lo`,
    'link set eth0 addrgenmode none up',
    `addr add ${network.hostAddress(index)}/24 dev eth0`,
    `route add default via ${network.bridgeAddress}`,
  ];
  await runCommand('ip', ['-n', netns, '-batch', '-'], { input: `${inside.join('\n')}\n`, signal });
}

export function machineExists(fleet: string, machineId: string): boolean {
  return existsSync(join(NETNS_DIR, hostNetns(fleet, machineId)));
}

/** Idempotent. Throws LocalCleanupError with all that could not be removed, after trying all. */
export async function removeMachine({ home, fleet }: FleetHome, machineId: string): Promise<void> {
  const netns = hostNetns(fleet, machineId);
  const vmNames = await listVmNetns(fleet, netns);
  const alive = await endProcesses(listProcessesIn(inodesOf([netns, ...vmNames])));
  await runIp([`link del ${hostLink(fleet, machineId)}`], { mayFail: true });
  await runIp(
    [...vmNames, netns].map((name) => `netns del ${name}`),
    { mayFail: true },
  );
  const vmIds = vmNames.map((name) => name.slice(netnsPrefix(fleet).length));
  const stuck = await removeCgroups(fleet, (name) => vmIds.includes(name));
  await unmountBelow(hostDir(home, fleet, machineId));
  await rm(hostDir(home, fleet, machineId), { recursive: true, force: true });
  const left = [...alive.map(({ pid }) => `process ${pid} (${commandOf(pid)})`), ...stuck];
  if (left.length > 0) {
    throw new LocalCleanupError(`Host ${machineId} is removed, but not: ${left.join(', ')}.`);
  }
}

const Links = z.array(z.object({ ifalias: z.string().optional() }));

/** Namespaces of the VMs on this host: the host's links name them in their alias. */
async function listVmNetns(fleet: string, netns: string): Promise<readonly string[]> {
  const text = await runCommand('ip', ['-n', netns, '-j', 'link', 'show'], { mayFail: true });
  return Links.parse(JSON.parse(text === '' ? '[]' : text))
    .map(({ ifalias }) => ifalias?.split(' ')[0] ?? '')
    .filter((name) => name.startsWith(netnsPrefix(fleet)));
}

function inodesOf(names: readonly string[]): ReadonlySet<number> {
  const stats = names.map((name) => statSync(join(NETNS_DIR, name), { throwIfNoEntry: false }));
  return new Set(stats.flatMap((stat) => stat?.ino ?? []));
}
