/**
 * What the operator says of EC2: the section `ec2` of architect.yaml, or a file of its own that
 * ARCHITECT_EC2_FILE names. README, "Hosts from EC2", has an example. Everything that costs money or is a matter of trust is here and nowhere else.
 */
import { z } from 'zod';
import { DEFAULT_FLEET_POLICY, type FleetPolicy } from '../../planner/fleet/fleet-seen.ts';

const MINUTE_MS = 60_000;
const SPOT_ADVISOR_URL = 'https://spot-bid-advisor.s3.amazonaws.com/spot-advisor-data.json';
const usd = z.number().min(0).max(1_000);

const Bootstrap = z.strictObject({
  repository: z.url({ protocol: /^https$/ }),
  /** A commit, so that every host runs the same. */
  ref: z.string().regex(/^[0-9a-f]{40}$/, 'wants a commit: 40 hexadecimal digits'),
});
export type Bootstrap = Readonly<z.infer<typeof Bootstrap>>;

const Headroom = z.union([
  z.enum(['off', 'one-host']).transform((kind) => ({ kind })),
  z
    .number()
    .min(1)
    .max(100)
    .transform((percent) => ({ kind: 'share' as const, share: percent / 100 })),
]);

const Fleet = z.strictObject({
  minHosts: z.int().min(0).max(1_000).default(DEFAULT_FLEET_POLICY.minHosts),
  maxHosts: z.int().min(1).max(1_000).default(DEFAULT_FLEET_POLICY.maxHosts),
  maxUsdPerHour: usd,
  /** By the day in UTC. Unset: only the hour is limited. */
  maxUsdPerDay: z.number().min(0).max(24_000).default(DEFAULT_FLEET_POLICY.maxUsdPerDay),
  /** `off`, `one-host`, or a percentage of the used vCPUs. */
  headroom: Headroom.default({ kind: 'one-host' }),
  calmMinutes: z.number().min(1).max(1_440).default(5),
  joinMinutes: z.number().min(1).max(120).default(15),
  horizonHours: z.number().min(0.25).max(168).default(4),
  usdPerReclaim: usd.default(DEFAULT_FLEET_POLICY.riskCosts.usdPerReclaim),
  /** How much dearer an offer may be in a zone of the best placement score than in one of the worst. */
  scorePremiumPercent: z
    .number()
    .min(0)
    .max(100)
    .default(100 * DEFAULT_FLEET_POLICY.riskCosts.scorePremium),
});

export const Ec2Settings = z.strictObject({
  region: z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'wants for example eu-central-1'),
  ami: z.string().regex(/^ami-[0-9a-f]{8,17}$/),
  /** One for each zone that may be used. */
  subnets: z
    .array(z.string().regex(/^subnet-[0-9a-f]{8,17}$/))
    .min(1)
    .max(20),
  securityGroups: z
    .array(z.string().regex(/^sg-[0-9a-f]{8,17}$/))
    .min(1)
    .max(5),
  /** By name. Unset: instances have no role, and reach the bucket by what the agents are given. */
  instanceProfile: z.string().max(128).optional(),
  publicAddress: z.boolean().default(false),
  diskGib: z.int().min(20).max(16_384).default(200),
  rootDevice: z.string().startsWith('/dev/').default('/dev/xvda'),
  kmsKeyId: z.string().max(2_048).optional(),
  /** Types by pattern, * for anything; unset: every type that can run guests. */
  types: z
    .array(z.string().regex(/^[a-z0-9.*-]+$/))
    .min(1)
    .max(50)
    .optional(),
  minVcpus: z.int().min(1).default(4),
  maxVcpus: z.int().min(1).default(64),
  fallbacks: z.array(z.enum(['type', 'zone', 'on-demand'])).default(['type', 'zone', 'on-demand']),
  /** Ask AWS's price list what types cost on demand. */
  priceList: z.boolean().default(true),
  /** By type; goes before the price list. */
  onDemandUsdPerHour: z.record(z.string(), usd).default({}),
  /** How often types are taken back: `true` for AWS's public file, or the URL of a copy. */
  spotAdvisor: z
    .union([z.boolean(), z.url()])
    .default(false)
    .transform((url) => (url === true ? SPOT_ADVISOR_URL : url === false ? undefined : url)),
  placementScores: z.boolean().default(false),
  bootstrap: Bootstrap.optional(),
  /** More of host-agent/config.ts. */
  agentEnvironment: z
    .record(z.string().regex(/^ARCHITECT_[A-Z_]+$/), z.string().max(1_000))
    .default({}),
  fleet: Fleet,
  /** URL of the SQS queue that EventBridge tells of interruptions. */
  noticeQueue: z.url().optional(),
  /** Instead of AWS's own: for tests. */
  endpoint: z.url().optional(),
});
export type Ec2Settings = Readonly<z.infer<typeof Ec2Settings>>;

export function policyOf({ fleet }: Ec2Settings): FleetPolicy {
  const { calmMinutes, joinMinutes, horizonHours, ...others } = fleet;
  const { usdPerReclaim, scorePremiumPercent, ...rest } = others;
  return {
    ...DEFAULT_FLEET_POLICY,
    ...rest,
    calmMs: calmMinutes * MINUTE_MS,
    joinLimitMs: joinMinutes * MINUTE_MS,
    horizonMs: horizonHours * 60 * MINUTE_MS,
    riskCosts: { usdPerReclaim, scorePremium: scorePremiumPercent / 100 },
  };
}

/** `m8i.*` and the like. */
export function matchesAny(name: string, patterns: readonly string[] | undefined): boolean {
  if (patterns === undefined) return true;
  return patterns.some((pattern) => {
    const escaped = pattern.replaceAll('.', '\\.').replaceAll('*', '.*');
    return new RegExp(`^${escaped}$`).test(name);
  });
}
