/**
 * What everything of a local fleet is called. All of it can be found again from the fleet's name
 * alone, which has no hyphen: `ar-<fleet>-` is a prefix of nothing that belongs to another fleet.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';

export const NETNS_DIR = '/run/netns';
/** Machine-wide claims that a reboot must forget: subnets, and what to undo about forwarding. */
export const RUN_DIR = '/run/architect';
export const AGENT_PORT = 3443;

export function bridgeName(fleet: string): string {
  return `ar-${fleet}`;
}

export function netnsPrefix(fleet: string): string {
  return `ar-${fleet}-`;
}

export function hostNetns(fleet: string, machineId: string): string {
  return `${netnsPrefix(fleet)}${machineId}`;
}

/** The host's port on the bridge; 15 characters, the kernel's limit. */
export function hostLink(fleet: string, machineId: string): string {
  return `arh${shortHash(hostNetns(fleet, machineId), 12)}`;
}

/** The same client token always means the same machine. */
export function machineIdOf(clientToken: string): string {
  return `h-${shortHash(clientToken, 8)}`;
}

function shortHash(text: string, digits: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, digits);
}

export function fleetDir(home: string, fleet: string): string {
  return join(home, 'fleets', fleet);
}

export function hostDir(home: string, fleet: string, machineId: string): string {
  return join(fleetDir(home, fleet), 'hosts', machineId);
}

/** What the provider keeps about a host, beside what the host's agent keeps in the same folder. */
export function machineDir(home: string, fleet: string, machineId: string): string {
  return join(hostDir(home, fleet, machineId), 'machine');
}
