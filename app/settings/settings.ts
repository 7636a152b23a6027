/**
 * Everything an operator can set: `architect.yaml`, one schema for the file, the environment's
 * variables (variables.ts) and the published JSON schema. No secret stands in it: a setting names
 * the file that holds one.
 */
import { z } from 'zod';
import { Policy } from '../labels/policy.ts';
import { Ec2Settings } from '../providers/ec2/ec2-settings.ts';

export const DEFAULT_HOME = '/var/lib/architect';
export const DEFAULT_CPU_MODEL = 'qemu64';
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

const path = () => z.string().startsWith('/').max(4096);

const App = z.strictObject({
  appId: z.int().positive().describe("The App's number, as its page on GitHub tells"),
  privateKeyFile: path().describe("The App's private key (PEM), mode 0600"),
  webhookSecretFile: path().describe("The webhook's secret, mode 0600"),
});
const MAX_FURTHER_APPS = 19;

const Enterprise = z.strictObject({
  slug: z
    .string()
    .regex(/^[\w.-]{1,100}$/, 'wants the name in the address of its page')
    .describe("The enterprise's name in addresses: github.com/enterprises/SLUG"),
  tokenFile: path().describe(
    'A personal access token (classic) with manage_runners:enterprise, mode 0600',
  ),
  organizations: z
    .array(z.string().regex(/^[\w-]{1,100}$/, 'wants logins of organisations'))
    .min(1)
    .max(1_000)
    .describe("Its organisations whose jobs' runners are registered with it"),
  runnerGroupId: z.int().min(1).default(1).describe("The enterprise's runner group that they join"),
});

const Github = z
  .strictObject({
    apiUrl: z
      .url({ protocol: /^https?$/ })
      .default('https://api.github.com')
      .describe("An Enterprise Server's is https://HOST/api/v3"),
    ...App.shape,
    furtherApps: z
      .array(App)
      .max(MAX_FURTHER_APPS)
      .default([])
      .describe('Apps beside that one, each with its own installations and limits'),
    pollSeconds: z
      .int()
      .min(1)
      .max(3_600)
      .default(60)
      .describe('How often GitHub is asked for what its webhooks should have told'),
    runnerGroupId: z
      .int()
      .min(1)
      .default(1)
      .describe("The runner group that runners join; 1 is GitHub's default group"),
    enterprise: Enterprise.optional().describe(
      'Registers runners with an enterprise, where it is not left to its organisations',
    ),
    rerunLost: z
      .boolean()
      .default(false)
      .describe('Run a job that lost its machine again, once its workflow run has ended'),
    repositoryFiles: z
      .boolean()
      .default(false)
      .describe("Read classes and caps from the repositories' own .github/architect.yml"),
    cancelRefusedRuns: z.boolean().default(false).describe('Cancel the run of a refused job'),
  })
  .superRefine(({ appId, furtherApps }, context) => {
    const seen = new Set([appId]);
    for (const [at, further] of furtherApps.entries()) {
      const path = ['furtherApps', at, 'appId'];
      if (seen.has(further.appId))
        context.addIssue({ code: 'custom', path, message: 'names an App that is named before' });
      seen.add(further.appId);
    }
  });

const Image = z.strictObject({
  profile: z.enum(['small', 'full']).default('full').describe('full has docker and the runner'),
  cpuModel: z.string().min(1).max(64).default(DEFAULT_CPU_MODEL).describe("The pool's CPU model"),
});

const Local = z.strictObject({
  hosts: z.int().min(0).max(50).default(2).describe('Simulated hosts on this machine'),
  hostSize: z
    .string()
    .regex(/^[1-9]\d*cpu-[1-9]\d*gb$/, 'wants for example 4cpu-8gb')
    .default('4cpu-8gb'),
  uplink: z.boolean().default(true).describe('Whether their guests reach the Internet'),
  outside: z.boolean().default(false).describe('A simulated outside: for the demo and tests only'),
  checkpointSeconds: z.int().min(1).max(3_600).default(300),
});

export const Store = z.strictObject({
  folder: path().optional().describe('A folder that all hosts reach under this path'),
  bucket: z
    .string()
    .min(3)
    .max(63)
    .optional()
    .describe('A bucket instead, on any S3-compatible service'),
  endpoint: z.url({ protocol: /^https?$/ }).optional(),
  region: z.string().min(1).max(64).default('us-east-1'),
  prefix: z
    .string()
    .max(200)
    .regex(/^([\w.-]+\/)*$/, 'wants folders, each with a slash after it, for example ci/chunks/')
    .default(''),
  credentialsFile: path()
    .optional()
    .describe('JSON with accessKeyId and secretAccessKey, mode 0600'),
});
export type Store = Readonly<z.infer<typeof Store>>;

const MIN_RANGE_BITS = 8;
const MAX_RANGE_BITS = 28;

const Network = z.strictObject({
  underlay: z
    .enum(['private', 'wireguard'])
    .optional()
    .describe(
      "What gateways' tunnels run on: private says that only hosts and gateways can send on the " +
        'network between them, wireguard seals every packet; hosts elsewhere with a gateway need one of them',
    ),
  wireguard: z
    .strictObject({
      port: z
        .int()
        .min(1_024)
        .max(MAX_PORT)
        .default(51_820)
        .describe('UDP, the same for all nodes'),
      range: z
        .cidrv4()
        .refine((text) => {
          const bits = Number(text.split('/')[1]);
          return MIN_RANGE_BITS <= bits && bits <= MAX_RANGE_BITS;
        }, `wants a prefix of ${MIN_RANGE_BITS} to ${MAX_RANGE_BITS} bits`)
        .default('198.19.0.0/16')
        .describe("The nodes' addresses inside WireGuard; used for nothing else on any of them"),
    })
    .prefault({}),
});

export const Settings = z.strictObject({
  $schema: z.string().optional(),
  home: path().default(DEFAULT_HOME).describe("Artifacts and the fleets' folders"),
  fleet: z
    .string()
    .regex(/^[a-z0-9]{1,12}$/, 'wants 1 to 12 small letters and digits')
    .default('main')
    .describe("This fleet's name"),
  listen: Address.default({ host: '127.0.0.1', port: 3000 }).describe('Webhooks and health'),
  logLevel: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  github: Github,
  provider: z.enum(['local', 'static', 'ec2']).default('local').describe('Where hosts come from'),
  local: Local.prefault({}),
  ec2: Ec2Settings.optional().describe('What is bought from EC2, and for how much at most'),
  agents: z
    .strictObject({
      listen: Address.optional().describe('Where host-agents dial in (TLS)'),
      url: z
        .url({ protocol: /^https$/ })
        .optional()
        .describe('https:// URL of that for hosts elsewhere; needed by static and ec2'),
    })
    .prefault({}),
  api: z
    .strictObject({
      listen: Address.optional().describe('The REST API on TCP as well as on its socket'),
    })
    .prefault({}),
  redis: z
    .strictObject({
      url: z
        .url({ protocol: /^rediss?$/ })
        .optional()
        .describe('Without one a private redis-server is started; no password in it'),
      urlFile: path().optional().describe('A file that holds the URL with its password, mode 0600'),
    })
    .prefault({}),
  network: Network.prefault({}),
  image: Image.prefault({}),
  store: Store.prefault({}),
  policy: Policy.prefault({}).describe('What jobs may ask for, and how many at a time'),
  linkMbit: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1_000)
    .describe("What a host's link carries: evacuations are planned with it"),
  tickMs: z
    .int()
    .min(50)
    .max(60_000)
    .default(2_000)
    .describe('How often the reconciler looks without a hint'),
});
export type Settings = Readonly<z.infer<typeof Settings>>;
