/**
 * What the operator allows jobs to ask for. A label is written by whoever may open a pull request,
 * so nothing is allowed that the policy does not allow. The section `policy` of architect.yaml, or a
 * file of its own that ARCHITECT_POLICY_FILE names:
 *
 *   defaultClass: { cpu: 2, ram: 4, disk: 20 }
 *   classes:
 *     large: { cpu: 8, ram: 32, disk: 40 }
 *   allowList: true            # false: every size and extra label that the grammar can express
 *   limits: { cpu: 8, ram: 32, disk: 100 }
 *   architectures: [x64]
 *   allowOnDemand: true        # may a label say spot=false?
 *   allowRewind: true          # may a label say rewind=true?
 *   extraLabels: [self-hosted, linux, x64]
 *   repositories:              # the first match counts; a repository without one is refused
 *     - match: acme/*
 *       limits: { cpu: 4 }
 *       classes: [small]       # named classes it may use; all, when not given
 *   concurrency:               # every rule that matches a job counts
 *     - match: acme/*
 *       class: large           # only jobs of this named class; all, when not given
 *       each: repository       # or organization: each by itself; together, when not given
 *       maxVms: 20
 *   priorities:                # the first match counts; higher goes first, 0 without one
 *     - { match: acme/release, priority: 10 }
 *
 * `repositories` decides for whose jobs VMs are started. GitHub then gives the runner to any job of
 * the organisation with the same labels, so keep other repositories out by the runner group, too.
 */
import { z } from 'zod';
import { Architecture } from '../../host-agent/protocol/instance-class.ts';

export const ClassName = z
  .string()
  .regex(/^[a-z0-9._-]{1,64}$/, 'wants lower-case letters, digits, . _ -');
const Cpu = z.int().min(1).max(256);
const RamGb = z.int().min(1).max(4096);
const DiskGb = z.int().min(1).max(16_384);

export const NamedClass = z.strictObject({
  cpu: Cpu,
  ram: RamGb,
  disk: DiskGb.default(20),
  arch: Architecture.default('x64'),
});
export type NamedClass = Readonly<z.infer<typeof NamedClass>>;

const Limits = z.strictObject({
  cpu: Cpu.default(8),
  ram: RamGb.default(32),
  disk: DiskGb.default(100),
});
export type Limits = Readonly<z.infer<typeof Limits>>;

const RepositoryRule = z.strictObject({
  /** `owner/repo`; `*` stands for any characters but a slash, and alone for every repository. */
  match: z.string().min(1).max(201),
  limits: z
    .strictObject({ cpu: Cpu.optional(), ram: RamGb.optional(), disk: DiskGb.optional() })
    .default({}),
  classes: z.array(ClassName).max(100).optional(),
  allowOnDemand: z.boolean().optional(),
});
export type RepositoryRule = Readonly<z.infer<typeof RepositoryRule>>;

export const MaxVms = z.int().min(0).max(100_000);

const ConcurrencyRule = z.strictObject({
  match: z.string().min(1).max(201),
  class: ClassName.optional(),
  each: z.enum(['organization', 'repository']).optional(),
  maxVms: MaxVms,
});
export type ConcurrencyRule = Readonly<z.infer<typeof ConcurrencyRule>>;

const PriorityRule = z.strictObject({
  match: z.string().min(1).max(201),
  class: ClassName.optional(),
  priority: z.int().min(-1_000).max(1_000),
});

const BUILT_IN_CLASSES = {
  small: { cpu: 1, ram: 2, disk: 20, arch: 'x64' as const },
  medium: { cpu: 4, ram: 8, disk: 20, arch: 'x64' as const },
  large: { cpu: 8, ram: 16, disk: 20, arch: 'x64' as const },
  '8cpu-32gb': { cpu: 8, ram: 32, disk: 20, arch: 'x64' as const },
};

export const Policy = z.strictObject({
  defaultClass: NamedClass.default({ cpu: 2, ram: 4, disk: 20, arch: 'x64' }),
  classes: z.record(ClassName, NamedClass).default(BUILT_IN_CLASSES),
  allowList: z.boolean().default(true),
  limits: Limits.default({ cpu: 8, ram: 32, disk: 100 }),
  architectures: z.array(Architecture).min(1).default(['x64']),
  allowOnDemand: z.boolean().default(true),
  allowRewind: z.boolean().default(true),
  extraLabels: z
    .array(z.string().min(1).max(100).toLowerCase())
    .max(100)
    .default(['self-hosted', 'linux', 'x64']),
  repositories: z
    .array(RepositoryRule)
    .max(1000)
    .default([{ match: '*', limits: {} }]),
  concurrency: z.array(ConcurrencyRule).max(1000).default([]),
  priorities: z.array(PriorityRule).max(1000).default([]),
});
export type Policy = Readonly<z.infer<typeof Policy>>;

export const DEFAULT_POLICY: Policy = Object.freeze(Policy.parse({}));

/** The first rule that matches `owner/repo`; undefined: the repository is not served at all. */
export function ruleForRepository(policy: Policy, repository: string): RepositoryRule | undefined {
  return policy.repositories.find((rule) => matchesRepository(rule.match, repository));
}

/** `*` stands for any characters but a slash, and alone for every repository. */
export function matchesRepository(pattern: string, repository: string): boolean {
  if (pattern === '*') return true;
  const parts = pattern.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^/]*')}$`, 'i').test(repository);
}
