/**
 * The simulated network of one fleet, in the machine's own namespace:
 *
 *   bridge ar-<fleet>  100.64.<n>.1/24   the agents' endpoint listens here
 *                      198.51.100.<n>    the simulated outside, for demos and tests
 *     ╠═ arh… ═ eth0 100.64.<n>.10  namespace ar-<fleet>-<machineId>, a host
 *     ╚═ arh… ═ eth0 100.64.<n>.11  …
 *
 * `createLocalNetwork` is idempotent and leaves, on failure, what `removeLocalNetwork` removes.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { runCommand, runIp } from './commands.ts';
import { enableForwarding, restoreForwarding } from './forwarding.ts';
import { AGENT_PORT, bridgeName } from './local-names.ts';
import { planRootRules } from './root-rules.ts';
import { claimSubnet, releaseSubnet } from './subnet-claim.ts';

const DEFAULT_MTU = 1500;

export interface LocalNetworkOptions {
  readonly fleet: string;
  /** Masquerade the fleet to the Internet. */
  readonly uplink: boolean;
  /** Have a simulated outside. Servers bound to every address are then in the guests' reach. */
  readonly outside?: boolean;
  readonly agentPort?: number;
}

export interface LocalNetwork {
  readonly fleet: string;
  readonly bridge: string;
  /** Where the control plane's agent endpoint listens. */
  readonly bridgeAddress: string;
  readonly agentPort: number;
  readonly outsideAddress: string | undefined;
  readonly mtu: number;
  /** The n-th host's address, n from 0. */
  hostAddress(index: number): string;
}

/** Makes the bridge, its addresses and rules, so that servers can listen before any host is there. */
export async function createLocalNetwork(options: LocalNetworkOptions): Promise<LocalNetwork> {
  const { fleet, uplink, outside = false, agentPort = AGENT_PORT } = options;
  const n = await claimSubnet(fleet);
  const bridge = bridgeName(fleet);
  const bridgeAddress = `100.64.${n}.1`;
  const outsideAddress = outside ? `198.51.100.${n}` : undefined;
  const mtu = uplink ? await readUplinkMtu() : DEFAULT_MTU;
  await runIp([`link add ${bridge} type bridge`], { mayFail: true });
  await runIp(planBridge({ bridge, bridgeAddress, outsideAddress, mtu }));
  const rules = { fleet, subnet: `100.64.${n}.0/24`, bridgeAddress, agentPort, outsideAddress };
  await runCommand('nft', ['-f', '-'], { input: planRootRules({ ...rules, uplink }) });
  if (uplink) await enableForwarding();
  const hostAddress = (index: number) => `100.64.${n}.${10 + index}`;
  return { fleet, bridge, bridgeAddress, agentPort, outsideAddress, mtu, hostAddress };
}

/** Idempotent; forwarding goes back to what it was when the last fleet goes. */
export async function removeLocalNetwork(fleet: string): Promise<void> {
  const bridge = bridgeName(fleet);
  await runIp([`link del ${bridge}`], { mayFail: true });
  await runCommand('nft', ['delete', 'table', 'inet', bridge], { mayFail: true });
  await releaseSubnet(fleet);
  await restoreForwarding();
}

interface Bridge {
  readonly bridge: string;
  readonly bridgeAddress: string;
  readonly outsideAddress: string | undefined;
  readonly mtu: number;
}

function planBridge({ bridge, bridgeAddress, outsideAddress, mtu }: Bridge): readonly string[] {
  const outside =
    outsideAddress === undefined ? [] : [`addr replace ${outsideAddress}/32 dev ${bridge}`];
  return [
    `link set ${bridge} mtu ${mtu} addrgenmode none up`,
    `addr replace ${bridgeAddress}/24 dev ${bridge}`,
    ...outside,
  ];
}

const Routes = z.array(z.object({ dev: z.string().optional() }));

async function readUplinkMtu(): Promise<number> {
  const text = await runCommand('ip', ['-j', '-4', 'route', 'show', 'default'], { mayFail: true });
  const dev = Routes.parse(JSON.parse(text === '' ? '[]' : text))[0]?.dev;
  if (dev === undefined) return DEFAULT_MTU;
  const mtu = Number(await readFile(`/sys/class/net/${dev}/mtu`, 'utf8'));
  return Math.min(DEFAULT_MTU, mtu);
}
