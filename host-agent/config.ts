/** The host-agent's configuration: read from the environment once, checked, frozen. */
import { hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { DEFAULT_INTERVAL_MS, MAX_INTERVAL_MS } from './migration/plan-checkpoint.ts';
import { type GuestRate, guestRateOf } from './net/guest-policy.ts';
import type { NoticeMode } from './notices/watch-notices.ts';
import { ArchitectError } from './protocol/errors.ts';
import { NoticeSource } from './protocol/host-notice.ts';

export class AgentConfigError extends ArchitectError {
  readonly code = 'AGENT_CONFIG';
  readonly retry = 'never';
}

const AbsolutePath = z.string().startsWith('/', 'wants an absolute path');

const CapacityText = z
  .string()
  .regex(/^\d{1,4}cpu-\d{1,5}gb$/, 'wants for example 4cpu-8gb')
  .transform((text) => {
    const [vcpus = 0, memoryGib = 0] = (text.match(/\d+/g) ?? []).map(Number);
    return { vcpus, memoryMib: memoryGib * 1024 };
  });

const MetadataUrl = z
  .url({ protocol: /^http$/, error: 'wants an http:// URL' })
  .refine((url) => URL.canParse(url) && ['', '/'].includes(new URL(url).pathname), {
    error: 'wants no path',
  });

function list<T extends z.ZodType<string, string>>(item: T, limit: number) {
  return z
    .string()
    .transform((text) => text.split(',').map((part) => part.trim()))
    .transform((parts) => parts.filter((part) => part !== ''))
    .pipe(z.array(item).max(limit));
}

/** Of the range that IANA leaves to nobody (RFC 6335, 6). */
const DEFAULT_PEER_PORTS = '49152-49215';

/** After the peers' ports. */
const DEFAULT_FLIP_PORT = 49_216;

const PortRange = z
  .string()
  .regex(/^\d{1,5}-\d{1,5}$/, 'wants for example 49152-49215')
  .transform((text) => {
    const [first = 0, last = 0] = text.split('-').map(Number);
    return { first, last };
  })
  .refine(({ first, last }) => 1024 <= first && first <= last && last <= 65_535, {
    error: 'wants two ports of 1024–65535, the lower one first',
  });

/** Of addresses that the internet routes (2000::/3). */
const GuestPrefix6 = z
  .cidrv6()
  .refine((text) => text.endsWith('::/64') && /^[23][0-9a-f]{3}:/i.test(text), {
    error: 'wants a public /64, for example 2001:db8:1:2::/64',
  });

const Environment = z.object({
  ARCHITECT_AGENT_DIR: AbsolutePath.default('/var/lib/architect/agent'),
  ARCHITECT_ARTIFACTS: AbsolutePath.default('/var/lib/architect/artifacts'),
  ARCHITECT_AGENT_TOKEN_FILE: AbsolutePath.optional(),
  ARCHITECT_AGENT_CAPACITY: CapacityText.optional(),
  ARCHITECT_AGENT_NAME: z.string().min(1).max(253).default(hostname()),
  ARCHITECT_FLEET: z
    .string()
    .regex(/^[a-z0-9]{1,12}$/, 'wants 1–12 lowercase letters and digits')
    .default('main'),
  ARCHITECT_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  ARCHITECT_GUEST_DNS: list(z.ipv4(), 3).default([]),
  ARCHITECT_GUEST_ALLOW: list(z.union([z.cidrv4(), z.cidrv6()]), 64).default([]),
  ARCHITECT_GUEST_MBIT: z.coerce.number().min(1).max(100_000).optional(),
  ARCHITECT_PEER_PORTS: PortRange.default(PortRange.parse(DEFAULT_PEER_PORTS)),
  ARCHITECT_UNDERLAY_MTU: z.coerce.number().int().min(1280).max(9216).default(1500),
  ARCHITECT_CHECKPOINT_SECONDS: z.coerce
    .number()
    .min(1)
    .max(MAX_INTERVAL_MS / 1000)
    .default(DEFAULT_INTERVAL_MS / 1000),
  ARCHITECT_GATEWAY_PUBLIC: z.ipv4().optional(),
  ARCHITECT_GATEWAY_PREFIX6: GuestPrefix6.optional(),
  ARCHITECT_GATEWAY_OUTSIDE: z
    .string()
    .regex(/^[^\s/]{1,15}$/, 'wants an interface')
    .optional(),
  ARCHITECT_GATEWAY_PORT: z.coerce.number().int().min(1024).max(65_535).default(DEFAULT_FLIP_PORT),
  ARCHITECT_NOTICES: z.enum(['auto', 'off', ...NoticeSource.options]).default('auto'),
  ARCHITECT_METADATA_URL: MetadataUrl.default('http://169.254.169.254'),
});

export interface AgentConfig {
  /** Identity, journals, run-time state; owned by root. */
  readonly agentDir: string;
  /** One folder per VM, named by its id. */
  readonly vmsDir: string;
  readonly artifactsDir: string;
  /** Holds the enrolment token; deleted once the host has its own certificate. */
  readonly tokenFile: string | undefined;
  /** Undefined: measured from the machine, less a reserve. */
  readonly capacity: { readonly vcpus: number; readonly memoryMib: number } | undefined;
  /** What the control plane calls this machine; its host name unless given. */
  readonly name: string;
  readonly fleet: string;
  readonly logLevel: string;
  /** Empty: the host's own resolvers. */
  readonly guestDns: readonly string[];
  /** Private prefixes that guests may reach nevertheless, as CIDR. */
  readonly guestAllow: readonly string[];
  /** What one guest may send; undefined: no limit. */
  readonly guestRate: GuestRate | undefined;
  readonly underlayMtu: number;
  /** One of these is open while a VM moves here; both ends belong to the range. */
  readonly peerPorts: { readonly first: number; readonly last: number };
  /** From one checkpoint of a VM to its next at least. */
  readonly checkpointIntervalMs: number;
  /** Of a gateway: what guests' connections come from; undefined: its own address. */
  readonly gatewayPublicAddress: string | undefined;
  /** Of a gateway: the /64 that guests' IPv6 addresses are in, outside; undefined: they have none. */
  readonly gatewayPrefix6: string | undefined;
  /**
   * Of a gateway: the device that it puts that address on while it acts, and takes it off again;
   * undefined: the address is the machine's for good, and nothing stands in for it.
   */
  readonly gatewayOutside: string | undefined;
  /** Of a gateway: where sources of moves ask for flips. */
  readonly flipPort: number;
  /** Whose metadata service is watched for spot notices; `auto` finds out. */
  readonly notices: NoticeMode;
  readonly metadataUrl: string;
}

/** Throws AgentConfigError naming every variable that is wrong and what it should hold. */
export function readAgentConfig(environment: NodeJS.ProcessEnv): AgentConfig {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) throw new AgentConfigError(describeIssues(parsed.error));
  const env = parsed.data;
  return Object.freeze({
    agentDir: env.ARCHITECT_AGENT_DIR,
    vmsDir: join(env.ARCHITECT_AGENT_DIR, 'vms'),
    artifactsDir: env.ARCHITECT_ARTIFACTS,
    tokenFile: env.ARCHITECT_AGENT_TOKEN_FILE,
    capacity: env.ARCHITECT_AGENT_CAPACITY,
    name: env.ARCHITECT_AGENT_NAME,
    fleet: env.ARCHITECT_FLEET,
    logLevel: env.ARCHITECT_LOG_LEVEL,
    guestDns: Object.freeze(env.ARCHITECT_GUEST_DNS),
    guestAllow: Object.freeze(env.ARCHITECT_GUEST_ALLOW),
    guestRate: guestRateOf(env.ARCHITECT_GUEST_MBIT),
    underlayMtu: env.ARCHITECT_UNDERLAY_MTU,
    peerPorts: Object.freeze(env.ARCHITECT_PEER_PORTS),
    checkpointIntervalMs: env.ARCHITECT_CHECKPOINT_SECONDS * 1000,
    gatewayPublicAddress: env.ARCHITECT_GATEWAY_PUBLIC,
    gatewayPrefix6: env.ARCHITECT_GATEWAY_PREFIX6,
    gatewayOutside: env.ARCHITECT_GATEWAY_OUTSIDE,
    flipPort: env.ARCHITECT_GATEWAY_PORT,
    notices: env.ARCHITECT_NOTICES,
    metadataUrl: env.ARCHITECT_METADATA_URL,
  });
}

function describeIssues(error: z.ZodError): string {
  const lines = error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
  return `The host-agent's configuration is not usable:\n${lines.join('\n')}\nSee "Configuration" in README.md.`;
}
