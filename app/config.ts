/** The control plane's configuration: `architect.yaml` and the environment, read once, frozen. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { StoreSpec } from '../host-agent/protocol/store-spec.ts';
import type { UnderlayPolicy } from './agents/underlay-desk.ts';
import type { Enterprise } from './github/runner-registry.ts';
import type { Policy } from './labels/policy.ts';
import type { Ec2Settings } from './providers/ec2/ec2-settings.ts';
import { ConfigError } from './settings/config-error.ts';
import { readSettings } from './settings/read-settings.ts';
import { type Address, Settings } from './settings/settings.ts';
import { readStore } from './store-config.ts';

export interface AppConfig {
  readonly apiUrl: string;
  readonly appId: number;
  readonly privateKey: string;
  readonly webhookSecret: string;
}

export interface Config {
  readonly homeDir: string;
  readonly dataDir: string;
  readonly artifactsDir: string;
  readonly apiSocket: string;
  readonly fleet: string;
  readonly listen: Address;
  /** Where host-agents dial in; unset: the local provider's bridge address, port 3443. */
  readonly agentsListen: Address | undefined;
  readonly agentsUrl: string | undefined;
  readonly apiListen: Address | undefined;
  /** What tunnel packets between hosts and gateways travel on. */
  readonly underlay: UnderlayPolicy;
  /** What jobs may ask for, and how many of them run at a time. */
  readonly policy: Policy;
  readonly imageProfile: 'small' | 'full';
  readonly cpuModel: string;
  readonly provider: 'local' | 'static' | 'ec2';
  /** What the operator says of EC2; needed by that provider. */
  readonly ec2: Ec2Settings | undefined;
  readonly local: {
    readonly hosts: number;
    readonly vcpus: number;
    readonly memoryMib: number;
    readonly uplink: boolean;
    /** A simulated outside (198.51.100.n) for the demo and tests. */
    readonly outside: boolean;
    /** From one checkpoint of a VM to its next at least. */
    readonly checkpointSeconds: number;
  };
  /** Where chunks go; undefined: nowhere, so no VM can be parked or rewound. */
  readonly store: StoreSpec | undefined;
  /** What a host's link carries, for planning evacuations. */
  readonly linkBytesPerSecond: number;
  readonly tickMs: number;
  /** How often GitHub is asked for what its webhooks should have told. */
  readonly pollMs: number;
  readonly cancelRefusedRuns: boolean;
  /** Jobs that lost their machine are run again, as soon as GitHub takes that. */
  readonly rerunLost: boolean;
  /** Repositories' own `.github/architect.yml` is read. */
  readonly repositoryFiles: boolean;
  /** GitHub's group that runners join: it decides which repositories' jobs may get one. */
  readonly runnerGroupId: number;
  /** Where runners of some organisations are registered instead; undefined: nowhere. */
  readonly enterprise: (Enterprise & { readonly token: string }) | undefined;
  readonly logLevel: string;
  readonly redisUrl: string | undefined;
  /** Files of secrets that others than their owner may read. */
  readonly exposedFiles: readonly string[];
  /** The App, and others beside it, where there are any. */
  readonly github: AppConfig & { readonly furtherApps?: readonly AppConfig[] };
}

/** Throws ConfigError naming everything that is wrong, where it stands, and what it should hold. */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const settings = readSettings(Settings, environment);
  const { home, fleet, github, local, image } = settings;
  const dataDir = join(home, 'fleets', fleet);
  const [vcpus = 0, memoryGib = 0] = (local.hostSize.match(/\d+/g) ?? []).map(Number);
  return Object.freeze({
    homeDir: home,
    dataDir,
    artifactsDir: join(home, 'artifacts'),
    apiSocket: join(dataDir, 'api.sock'),
    fleet,
    listen: settings.listen,
    agentsListen: settings.agents.listen,
    agentsUrl: settings.agents.url,
    apiListen: settings.api.listen,
    underlay: readUnderlay(settings),
    policy: settings.policy,
    imageProfile: image.profile,
    cpuModel: image.cpuModel,
    provider: settings.provider,
    ec2: settings.ec2,
    local: {
      hosts: local.hosts,
      vcpus,
      memoryMib: memoryGib * 1024,
      uplink: local.uplink,
      outside: local.outside,
      checkpointSeconds: local.checkpointSeconds,
    },
    store: readStore(
      settings.store,
      settings.provider === 'local' ? join(dataDir, 'chunks') : undefined,
    ),
    linkBytesPerSecond: (settings.linkMbit * 1_000_000) / 8,
    tickMs: settings.tickMs,
    pollMs: github.pollSeconds * 1_000,
    cancelRefusedRuns: github.cancelRefusedRuns,
    rerunLost: github.rerunLost,
    repositoryFiles: github.repositoryFiles,
    runnerGroupId: github.runnerGroupId,
    enterprise: readEnterprise(github.enterprise),
    logLevel: settings.logLevel,
    redisUrl: readRedisUrl(settings.redis),
    github: {
      ...readApp(github.apiUrl, github),
      furtherApps: github.furtherApps.map((app) => readApp(github.apiUrl, app)),
    },
    exposedFiles: secretFiles(settings).filter(isExposed),
  });
}

/** All of them, the first first. */
export function appsOf({ furtherApps = [], ...first }: Config['github']): readonly AppConfig[] {
  return [first, ...furtherApps];
}

function readApp(apiUrl: string, app: Settings['github']['furtherApps'][number]): AppConfig {
  return {
    apiUrl,
    appId: app.appId,
    privateKey: readSecret(app.privateKeyFile),
    webhookSecret: readSecret(app.webhookSecretFile),
  };
}

function readEnterprise(given: Settings['github']['enterprise']): Config['enterprise'] {
  if (given === undefined) return undefined;
  const { tokenFile, ...enterprise } = given;
  return { ...enterprise, token: readSecret(tokenFile) };
}

/** Simulated hosts are on a bridge of this machine's own, so theirs is private by itself. */
function readUnderlay({ network, provider }: Settings): UnderlayPolicy {
  const { underlay, wireguard } = network;
  if (underlay === 'wireguard') return { kind: 'wireguard', ...wireguard };
  return { kind: underlay ?? (provider === 'local' ? 'private' : 'undeclared') };
}

function readRedisUrl({ url, urlFile }: Settings['redis']): string | undefined {
  if (url !== undefined || urlFile === undefined) return url;
  const text = readSecret(urlFile);
  if (/^rediss?:\/\//.test(text) && URL.canParse(text)) return text;
  throw new ConfigError(`${urlFile}, which redis.urlFile names, holds no redis:// URL.`);
}

function readSecret(path: string): string {
  const secret = readOrExplain(path).trim();
  if (secret === '') throw new ConfigError(`${path} is empty. It has to hold the secret.`);
  return secret;
}

function secretFiles({ github, redis }: Settings): readonly string[] {
  const apps = [github, ...github.furtherApps];
  const others = [github.enterprise?.tokenFile, redis.urlFile].filter((path) => path !== undefined);
  return [...apps.flatMap((app) => [app.privateKeyFile, app.webhookSecretFile]), ...others];
}

function isExposed(path: string): boolean {
  return ((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) !== 0;
}

function readOrExplain(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ConfigError(`Cannot read ${path}. Check that the file exists and is readable.`, {
      cause,
    });
  }
}
