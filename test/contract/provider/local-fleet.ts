/** A local fleet for tests: a home of its own under the temporary folder, a tiny agent. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import {
  createLocalNetwork,
  type LocalNetwork,
} from '../../../app/providers/local/local-network.ts';
import {
  createLocalProvider,
  type LocalProvider,
} from '../../../app/providers/local/local-provider.ts';
import type { FleetHome } from '../../../app/providers/local/machine-record.ts';
import { ownEphemeralFleet } from '../../../app/providers/local/owner.ts';
import { destroyFleet } from '../../../app/providers/local/sweep.ts';

export const TINY_AGENT: readonly string[] = [
  process.execPath,
  fileURLToPath(new URL('./tiny-agent.ts', import.meta.url)),
];

export interface LocalFleet {
  readonly at: FleetHome;
  readonly network: LocalNetwork;
  readonly provider: LocalProvider;
  /** Another control plane of the same fleet. */
  another(): LocalProvider;
  destroy(): Promise<void>;
}

export function newFleetName(): string {
  return `t${randomBytes(4).toString('hex')}`;
}

export async function startLocalFleet(options: { uplink?: boolean } = {}): Promise<LocalFleet> {
  const home = await mkdtemp(join(tmpdir(), 'architect-home-'));
  const fleet = newFleetName();
  const at = { home, fleet };
  await ownEphemeralFleet(at);
  const network = await createLocalNetwork({
    fleet,
    uplink: options.uplink ?? false,
    outside: true,
  });
  const provider = openProvider(home, network);
  await provider.start();
  const destroy = async () => {
    await provider.stop();
    const { failed } = await destroyFleet(at);
    await rm(home, { recursive: true, force: true });
    if (failed.length > 0) throw new Error(`left over: ${failed.join(', ')}`);
  };
  return { at, network, provider, another: () => openProvider(home, network), destroy };
}

export function openProvider(home: string, network: LocalNetwork): LocalProvider {
  return createLocalProvider({
    home,
    network,
    artifactsDir: join(home, 'artifacts'),
    desiredHosts: 1,
    vcpus: 2,
    memoryMib: 2048,
    agentCommand: TINY_AGENT,
    logger: pino({ level: 'silent' }),
  });
}
