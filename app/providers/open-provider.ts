/** The provider that the configuration names, and where its hosts reach this control plane. */
import type { Logger } from 'pino';
import type { PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import type { Config } from '../config.ts';
import { ConfigError } from '../settings/config-error.ts';
import type { Address } from '../settings/settings.ts';
import { openEc2 } from './ec2/open-ec2.ts';
import { createLocalNetwork } from './local/local-network.ts';
import { createLocalProvider } from './local/local-provider.ts';
import type { Provider } from './provider.ts';
import { createStaticProvider, type EnrolledHosts } from './static/static-provider.ts';

const AGENTS_PORT = 3443;

export interface OpenProvider {
  readonly provider: Provider;
  readonly agentsListen: Address;
  /** Stops supervising. Hosts and what runs on them go on. */
  close(): Promise<void>;
}

interface ProviderParts {
  readonly enrolled: EnrolledHosts;
  readonly pool: PoolSpec;
  readonly logger: Logger;
}

/**
 * The local provider's network is there when this resolves; its hosts come when they are launched.
 * Throws ConfigError when the configuration lacks what the provider needs.
 */
export async function openProvider(
  config: Config,
  { enrolled, pool, logger }: ProviderParts,
): Promise<OpenProvider> {
  if (config.provider === 'local') return await openLocal(config, logger);
  if (config.agentsUrl === undefined) {
    throw new ConfigError(
      `The ${config.provider} provider needs agents.url (ARCHITECT_AGENTS_URL): the https:// URL at which hosts reach this machine.`,
    );
  }
  const agentsListen = config.agentsListen ?? { host: '0.0.0.0', port: AGENTS_PORT };
  if (config.provider === 'static') {
    const provider = createStaticProvider(enrolled);
    return { provider, agentsListen, close: async () => undefined };
  }
  const { ec2: settings, dataDir, fleet } = config;
  if (settings === undefined) {
    throw new ConfigError(
      'The ec2 provider needs the section ec2 (or ARCHITECT_EC2_FILE). See "Hosts from EC2" in README.md.',
    );
  }
  const provider = await openEc2({ settings, dataDir, fleet, pool, logger });
  return { provider, agentsListen, close: async () => provider.close() };
}

async function openLocal(config: Config, logger: Logger): Promise<OpenProvider> {
  const { fleet, local } = config;
  const { uplink, outside, hosts, vcpus, memoryMib, checkpointSeconds } = local;
  const network = await createLocalNetwork({ fleet, uplink, outside });
  const provider = createLocalProvider({
    home: config.homeDir,
    network,
    artifactsDir: config.artifactsDir,
    desiredHosts: hosts,
    vcpus,
    memoryMib,
    agentEnvironment: {
      ARCHITECT_LOG_LEVEL: config.logLevel,
      ARCHITECT_CHECKPOINT_SECONDS: String(checkpointSeconds),
    },
    logger,
  });
  await provider.start();
  const agentsListen = config.agentsListen ?? {
    host: network.bridgeAddress,
    port: network.agentPort,
  };
  return { provider, agentsListen, close: () => provider.stop() };
}
