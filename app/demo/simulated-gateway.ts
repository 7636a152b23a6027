/**
 * A simulated fleet's gateway: a namespace on the fleet's bridge with a host-agent in that role. What
 * guests send leaves from its address there. Swept with the rest of the fleet.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GatewayList, IssuedToken } from '../api/views.ts';
import { type ApiAddress, callApi } from '../cli/api-client.ts';
import { createMachine } from '../providers/local/host-machine.ts';
import { hostNetns, NETNS_DIR } from '../providers/local/local-names.ts';
import type { LocalNetwork } from '../providers/local/local-network.ts';
import { type Child, startChild, untilReady } from './child.ts';

const AGENT_PROGRAM = join(import.meta.dirname, '../../host-agent/main.ts');
const MACHINE_ID = 'gateway';
/** After the provider's last host. */
const PLACE_ON_BRIDGE = 200;
const TOKEN_TTL_SECONDS = 600;

export interface GatewayFacts {
  readonly network: LocalNetwork;
  readonly api: ApiAddress;
  /** The fleet's folder. */
  readonly dir: string;
  /** For guests' IPv6; undefined: they have none. */
  readonly prefix6?: string | undefined;
  readonly signal: AbortSignal;
}

/** Once, before the first `startGateway`: with a second token it would be another gateway. */
export async function createGatewayMachine(facts: GatewayFacts): Promise<void> {
  const { network, api, signal } = facts;
  await createMachine({ network, machineId: MACHINE_ID, index: PLACE_ON_BRIDGE }, signal);
  const { token } = await callApi(api, {
    method: 'POST',
    path: '/hosts/tokens',
    body: { ttlSeconds: TOKEN_TTL_SECONDS, role: 'gateway' },
    answer: IssuedToken,
  });
  await writeFile(tokenFile(facts), token, { mode: 0o600 });
}

function tokenFile({ dir }: GatewayFacts): string {
  return join(dir, 'secrets', 'gateway-token');
}

/** Starts the gateway's agent, or starts it again; resolves when the control plane has it. */
export async function startGateway(facts: GatewayFacts): Promise<Child> {
  const { network, api, signal } = facts;
  const dir = join(facts.dir, MACHINE_ID);
  await mkdir(dir, { recursive: true });
  const child = startChild({
    name: 'The gateway',
    args: [AGENT_PROGRAM, '--role', 'gateway'],
    netns: join(NETNS_DIR, hostNetns(network.fleet, MACHINE_ID)),
    environment: {
      ARCHITECT_FLEET: network.fleet,
      ARCHITECT_AGENT_DIR: dir,
      ARCHITECT_AGENT_NAME: MACHINE_ID,
      ARCHITECT_AGENT_TOKEN_FILE: tokenFile(facts),
      ARCHITECT_UNDERLAY_MTU: String(network.mtu),
      ...(facts.prefix6 !== undefined && { ARCHITECT_GATEWAY_PREFIX6: facts.prefix6 }),
    },
    logPath: join(facts.dir, 'gateway.log'),
  });
  await untilReady(child, () => isConnected(api), signal);
  return child;
}

async function isConnected(api: ApiAddress): Promise<true | undefined> {
  const { gateways } = await callApi(api, {
    method: 'GET',
    path: '/gateways',
    answer: GatewayList,
  });
  return gateways.some(({ state }) => state === 'connected') ? true : undefined;
}
