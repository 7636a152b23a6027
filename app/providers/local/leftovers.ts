/** What of a fleet is on this machine: the demo's report prints it, and it must be empty. */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import { listCgroups } from './cgroups.ts';
import { listNetns, runCommand } from './commands.ts';
import { bridgeName, fleetDir, hostLink, netnsPrefix } from './local-names.ts';
import { type FleetHome, listMachineIds } from './machine-record.ts';
import { listMountsBelow } from './mounts.ts';
import { isEphemeral } from './owner.ts';
import { commandOf, listFleetProcesses } from './processes.ts';
import { claimsOf } from './subnet-claim.ts';

/** One line for each process, namespace, link, table, control group, mount and folder. */
export async function listLeftovers(at: FleetHome): Promise<readonly string[]> {
  const { home, fleet } = at;
  const dir = fleetDir(home, fleet);
  const tables = await runCommand('nft', ['list', 'tables', 'inet'], { mayFail: true });
  const ephemeral = await isEphemeral(at);
  return [
    ...listFleetProcesses(fleet).map(({ pid }) => `process ${pid} (${commandOf(pid)})`),
    ...listNetns(netnsPrefix(fleet)).map((name) => `namespace ${name}`),
    ...(await listLinks(at)).map((name) => `link ${name}`),
    ...tables.split('\n').filter((line) => line === `table inet ${bridgeName(fleet)}`),
    ...listCgroups(fleet).map((path) => `cgroup ${path}`),
    ...listMountsBelow(dir).map((path) => `mount ${path}`),
    ...(await claimsOf(fleet)).map((n) => `subnet 100.64.${n}.0/24`),
    ...(ephemeral && existsSync(dir) ? [`folder ${dir}`] : []),
  ];
}

const Links = z.array(z.object({ ifname: z.string().optional(), master: z.string().optional() }));

/** The bridge, what is plugged into it, and ports of hosts that are known. */
async function listLinks(at: FleetHome): Promise<readonly string[]> {
  const bridge = bridgeName(at.fleet);
  const ports = new Set((await listMachineIds(at)).map((id) => hostLink(at.fleet, id)));
  const text = await runCommand('ip', ['-j', 'link', 'show'], { mayFail: true });
  return Links.parse(JSON.parse(text === '' ? '[]' : text)).flatMap(({ ifname = '', master }) =>
    ifname === bridge || master === bridge || ports.has(ifname) ? ifname : [],
  );
}
