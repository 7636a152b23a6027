/**
 * Removes a fleet from this machine, whatever state a crash left it in. It trusts no record: what
 * belongs to a fleet is found by the fleet's name in environments, namespaces, links, tables and
 * control groups.
 *
 *   processes → namespaces → links, tables, subnet → control groups → mounts → folder
 *
 * Each part is tried even if an earlier one failed; what is still there afterwards is reported.
 */
import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { removeFleetCgroups } from './cgroups.ts';
import { listNetns, runIp } from './commands.ts';
import { listLeftovers } from './leftovers.ts';
import { bridgeName, fleetDir, hostLink, netnsPrefix } from './local-names.ts';
import { removeLocalNetwork } from './local-network.ts';
import { type FleetHome, listMachineIds } from './machine-record.ts';
import { unmountBelow } from './mounts.ts';
import { isEphemeral, listDeadFleets } from './owner.ts';
import { endProcesses, listFleetProcesses } from './processes.ts';

/** A process may start another while it is being killed: look again this often. */
const KILL_ROUNDS = 5;

export interface SweepReport {
  readonly fleet: string;
  readonly removed: readonly string[];
  /** Still there. */
  readonly failed: readonly string[];
}

/**
 * Kills every process of the fleet (but the caller and its ancestors) and removes all it had. An
 * ephemeral fleet's folder goes too; of another one only the hosts' folders, its records stay.
 */
export async function destroyFleet(at: FleetHome): Promise<SweepReport> {
  const { fleet } = at;
  const before = await listLeftovers(at);
  for (let round = 0; round < KILL_ROUNDS; round += 1) {
    const processes = listFleetProcesses(fleet);
    if (processes.length === 0) break;
    await endProcesses(processes);
  }
  const ports = [
    ...(await listMachineIds(at)).map((id) => hostLink(fleet, id)),
    ...bridgePorts(fleet),
  ];
  await runIp(
    ports.map((name) => `link del ${name}`),
    { mayFail: true },
  );
  await runIp(
    listNetns(netnsPrefix(fleet)).map((name) => `netns del ${name}`),
    { mayFail: true },
  );
  await removeLocalNetwork(fleet);
  await removeFleetCgroups(fleet);
  await removeFolders(at);
  const failed = await listLeftovers(at);
  return { fleet, removed: before.filter((name) => !failed.includes(name)), failed };
}

/** Removes every ephemeral fleet under this home whose owner is gone. */
export async function sweepDeadFleets(home: string): Promise<readonly SweepReport[]> {
  const reports: SweepReport[] = [];
  for (const fleet of await listDeadFleets(home)) reports.push(await destroyFleet({ home, fleet }));
  return reports;
}

async function removeFolders({ home, fleet }: FleetHome): Promise<void> {
  const dir = fleetDir(home, fleet);
  await unmountBelow(dir);
  const doomed = (await isEphemeral({ home, fleet })) ? dir : join(dir, 'hosts');
  await rm(doomed, { recursive: true, force: true });
}

function bridgePorts(fleet: string): readonly string[] {
  try {
    return readdirSync(`/sys/class/net/${bridgeName(fleet)}/brif`);
  } catch {
    return [];
  }
}
