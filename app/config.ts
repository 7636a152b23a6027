/** The control plane's configuration: read from the environment once, checked, frozen. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { ArchitectError } from '../host-agent/protocol/errors.ts';
import type { StoreSpec } from '../host-agent/protocol/store-spec.ts';
import { readStore, StoreEnvironment } from './store-config.ts';

export class ConfigError extends ArchitectError {
  readonly code = 'CONFIG';
  readonly retry = 'never';
}

const MAX_PORT = 65_535;

const Address = z
  .string()
  .regex(/^[^:\s]+:\d{1,5}$/, 'wants HOST:PORT')
  .transform((text) => {
    const colon = text.lastIndexOf(':');
    return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
  })
  .refine(({ port }) => port <= MAX_PORT, `wants a port up to ${MAX_PORT}`);
export type Address = Readonly<z.infer<typeof Address>>;

const Flag = z.enum(['true', 'false']).transform((text) => text === 'true');

const Environment = z.object({
  ARCHITECT_HOME: z.string().startsWith('/').default('/var/lib/architect'),
  ARCHITECT_FLEET: z
    .string()
    .regex(/^[a-z0-9]{1,12}$/, 'wants 1 to 12 small letters and digits')
    .default('main'),
  ARCHITECT_LISTEN: Address.default({ host: '127.0.0.1', port: 3000 }),
  ARCHITECT_AGENTS_LISTEN: Address.optional(),
  ARCHITECT_AGENTS_URL: z.url({ protocol: /^https$/ }).optional(),
  ARCHITECT_API_LISTEN: Address.optional(),
  ARCHITECT_POLICY_FILE: z.string().startsWith('/').optional(),
  ARCHITECT_IMAGE_PROFILE: z.enum(['small', 'full']).default('full'),
  ARCHITECT_CPU_MODEL: z.string().min(1).default('qemu64'),
  ARCHITECT_PROVIDER: z.enum(['local', 'static', 'ec2']).default('local'),
  ARCHITECT_EC2_FILE: z.string().startsWith('/').optional(),
  ARCHITECT_LOCAL_HOSTS: z.coerce.number().int().min(0).max(50).default(2),
  ARCHITECT_LOCAL_HOST_SIZE: z
    .string()
    .regex(/^[1-9]\d*cpu-[1-9]\d*gb$/, 'wants for example 4cpu-8gb')
    .default('4cpu-8gb'),
  ARCHITECT_LOCAL_UPLINK: Flag.default(true),
  ARCHITECT_LOCAL_OUTSIDE: Flag.default(false),
  ARCHITECT_LOCAL_CHECKPOINT_SECONDS: z.coerce.number().int().min(1).max(3_600).default(300),
  ...StoreEnvironment,
  ARCHITECT_LINK_MBIT: z.coerce.number().int().min(1).max(1_000_000).default(1_000),
  ARCHITECT_TICK_MS: z.coerce.number().int().min(50).max(60_000).default(2_000),
  ARCHITECT_POLL_SECONDS: z.coerce.number().int().min(1).max(3_600).default(60),
  ARCHITECT_CANCEL_REFUSED_RUNS: Flag.default(false),
  ARCHITECT_RUNNER_GROUP_ID: z.coerce.number().int().min(1).default(1),
  ARCHITECT_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  REDIS_URL: z.url({ protocol: /^rediss?$/ }).optional(),
  GITHUB_API_URL: z.url().default('https://api.github.com'),
  GITHUB_APP_ID: z.coerce.number().int().positive(),
  GITHUB_PRIVATE_KEY_FILE: z.string().startsWith('/'),
  GITHUB_WEBHOOK_SECRET_FILE: z.string().startsWith('/'),
});

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
  readonly policyFile: string | undefined;
  readonly imageProfile: 'small' | 'full';
  readonly cpuModel: string;
  readonly provider: 'local' | 'static' | 'ec2';
  /** What the operator says of EC2; needed by that provider. */
  readonly ec2File: string | undefined;
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
  /** GitHub's group that runners join: it decides which repositories' jobs may get one. */
  readonly runnerGroupId: number;
  readonly logLevel: string;
  readonly redisUrl: string | undefined;
  readonly github: {
    readonly apiUrl: string;
    readonly appId: number;
    readonly privateKey: string;
    readonly webhookSecret: string;
  };
}

/** Throws ConfigError naming every variable that is wrong and what it should hold. */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) throw new ConfigError(describeIssues(parsed.error, environment));
  const env = parsed.data;
  const dataDir = join(env.ARCHITECT_HOME, 'fleets', env.ARCHITECT_FLEET);
  const [vcpus = 0, memoryGib = 0] = (env.ARCHITECT_LOCAL_HOST_SIZE.match(/\d+/g) ?? []).map(
    Number,
  );
  return Object.freeze({
    homeDir: env.ARCHITECT_HOME,
    dataDir,
    artifactsDir: join(env.ARCHITECT_HOME, 'artifacts'),
    apiSocket: join(dataDir, 'api.sock'),
    fleet: env.ARCHITECT_FLEET,
    listen: env.ARCHITECT_LISTEN,
    agentsListen: env.ARCHITECT_AGENTS_LISTEN,
    agentsUrl: env.ARCHITECT_AGENTS_URL,
    apiListen: env.ARCHITECT_API_LISTEN,
    policyFile: env.ARCHITECT_POLICY_FILE,
    imageProfile: env.ARCHITECT_IMAGE_PROFILE,
    cpuModel: env.ARCHITECT_CPU_MODEL,
    provider: env.ARCHITECT_PROVIDER,
    ec2File: env.ARCHITECT_EC2_FILE,
    local: {
      hosts: env.ARCHITECT_LOCAL_HOSTS,
      vcpus,
      memoryMib: memoryGib * 1024,
      uplink: env.ARCHITECT_LOCAL_UPLINK,
      outside: env.ARCHITECT_LOCAL_OUTSIDE,
      checkpointSeconds: env.ARCHITECT_LOCAL_CHECKPOINT_SECONDS,
    },
    store: readStore(env, env.ARCHITECT_PROVIDER === 'local' ? join(dataDir, 'chunks') : undefined),
    linkBytesPerSecond: (env.ARCHITECT_LINK_MBIT * 1_000_000) / 8,
    tickMs: env.ARCHITECT_TICK_MS,
    pollMs: env.ARCHITECT_POLL_SECONDS * 1_000,
    cancelRefusedRuns: env.ARCHITECT_CANCEL_REFUSED_RUNS,
    runnerGroupId: env.ARCHITECT_RUNNER_GROUP_ID,
    logLevel: env.ARCHITECT_LOG_LEVEL,
    redisUrl: env.REDIS_URL,
    github: {
      apiUrl: env.GITHUB_API_URL,
      appId: env.GITHUB_APP_ID,
      privateKey: readSecret(env.GITHUB_PRIVATE_KEY_FILE),
      webhookSecret: readSecret(env.GITHUB_WEBHOOK_SECRET_FILE),
    },
  });
}

function describeIssues(error: z.ZodError, environment: NodeJS.ProcessEnv): string {
  const lines = error.issues.map(({ path, message }) => {
    const name = path.join('.');
    return `  ${name}: ${environment[name] === undefined ? 'is not set' : message}`;
  });
  return `The configuration is not usable:\n${lines.join('\n')}\nSee "Configuration" in README.md.`;
}

function readSecret(path: string): string {
  const secret = readOrExplain(path).trim();
  if (secret === '') throw new ConfigError(`${path} is empty. It has to hold the secret.`);
  return secret;
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
