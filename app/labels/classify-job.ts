/**
 * From a job's labels to the VM it gets. Pure.
 *
 * GitHub gives a job to a runner that holds all of its labels, and a JIT runner has only those that
 * it was minted with (not even `self-hosted`). So the runner is minted with all of the job's
 * labels, and a label that is not ours must be one that the policy lets a runner claim: otherwise a
 * pull request could make our runner stand in for another team's `production-signer`.
 * Exactly one of the labels may be ours; two could contradict each other.
 */
import { type Refused, refused } from '../../host-agent/protocol/errors.ts';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import { type LabelRequest, parseLabel } from './grammar.ts';
import { type NamedClass, type Policy, type RepositoryRule, ruleForRepository } from './policy.ts';

export type JobClassification =
  | { readonly kind: 'not-ours' }
  | { readonly kind: 'served'; readonly class: InstanceClass; readonly request: LabelRequest }
  | (Refused & { readonly class: InstanceClass });

export interface LabelledJob {
  readonly labels: readonly string[];
  /** `owner/repo`. */
  readonly repository: string;
  /** Why the repository's own file adds nothing to the policy. */
  readonly fault?: string | undefined;
}

/** A refused job keeps the policy's default class, since its record has to hold one. */
export function classifyJob(job: LabelledJob, policy: Policy): JobClassification {
  const ours = job.labels.filter((label) => parseLabel(label).kind !== 'not-ours');
  const [label] = ours;
  if (label === undefined) return { kind: 'not-ours' };
  const parsed = parseLabel(label);
  const answer =
    refuseCompany(job.labels, ours, policy) ??
    (parsed.kind === 'parsed' ? resolveClass({ ...job, request: parsed.request, policy }) : parsed);
  if (answer.kind === 'served') return answer;
  const why = answer.kind === 'refused' ? answer.why : 'The label cannot be understood.';
  return { ...refused(why), class: instanceClassOf(policy.defaultClass) };
}

/** The class that a label's request comes to, or why the policy does not allow it. */
export function resolveClass({
  request,
  policy,
  repository,
  fault,
}: Pick<LabelledJob, 'repository' | 'fault'> & {
  readonly request: LabelRequest;
  readonly policy: Policy;
}):
  | { readonly kind: 'served'; readonly class: InstanceClass; readonly request: LabelRequest }
  | Refused {
  const base = baseClass(request.class, policy);
  if (base === undefined) {
    const known = Object.keys(policy.classes).join(', ');
    const why = `There is no class "${request.class}"; known: ${known}.`;
    return refused(fault === undefined ? why : `${why} ${fault}`);
  }
  const wanted = {
    cpu: request.cpu ?? base.cpu,
    ram: request.ram ?? base.ram,
    disk: request.disk ?? base.disk,
    arch: request.arch ?? base.arch,
  };
  const rule = ruleForRepository(policy, repository);
  if (rule === undefined) return refused(`The operator's policy does not serve ${repository}.`);
  const why = policy.allowList ? whyNotAllowed({ request, wanted, policy, rule }) : undefined;
  if (why !== undefined) return refused(why);
  return { kind: 'served', class: instanceClassOf(wanted), request };
}

function baseClass(name: string | undefined, policy: Policy): NamedClass | undefined {
  if (name === undefined) return policy.defaultClass;
  return Object.hasOwn(policy.classes, name) ? policy.classes[name] : undefined;
}

function refuseCompany(
  labels: readonly string[],
  ours: readonly string[],
  policy: Policy,
): Refused | undefined {
  if (ours.length > 1)
    return refused('A job may have one architect label; put all settings into it, with slashes.');
  if (!policy.allowList) return undefined;
  const extra = labels.find(
    (label) => !ours.includes(label) && !policy.extraLabels.includes(label.toLowerCase()),
  );
  if (extra === undefined) return undefined;
  const allowed = policy.extraLabels.join(', ') || 'none';
  return refused(
    `The label "${extra.slice(0, 40)}" is not allowed beside architect; allowed: ${allowed}.`,
  );
}

function whyNotAllowed({
  request,
  wanted,
  policy,
  rule,
}: {
  readonly request: LabelRequest;
  readonly wanted: NamedClass;
  readonly policy: Policy;
  readonly rule: RepositoryRule;
}): string | undefined {
  return (
    whyTooLarge(wanted, policy, rule) ??
    whyClassNotAllowed(request.class, rule) ??
    whyOnDemandNotAllowed(request, policy, rule) ??
    whyRewindNotAllowed(request, policy) ??
    (policy.architectures.includes(wanted.arch)
      ? undefined
      : `arch=${wanted.arch} is not allowed; allowed: ${policy.architectures.join(', ')}.`)
  );
}

function whyTooLarge(wanted: NamedClass, policy: Policy, rule: RepositoryRule): string | undefined {
  for (const key of ['cpu', 'ram', 'disk'] as const) {
    const limit = rule.limits[key] ?? policy.limits[key];
    if (wanted[key] > limit) return `${key}=${wanted[key]} is above the allowed ${limit}.`;
  }
  return undefined;
}

function whyClassNotAllowed(name: string | undefined, rule: RepositoryRule): string | undefined {
  if (name === undefined || rule.classes === undefined || rule.classes.includes(name))
    return undefined;
  return `class=${name} is not allowed here; allowed: ${rule.classes.join(', ') || 'none'}.`;
}

function whyOnDemandNotAllowed(
  request: LabelRequest,
  policy: Policy,
  rule: RepositoryRule,
): string | undefined {
  if (request.spot !== false || (rule.allowOnDemand ?? policy.allowOnDemand)) return undefined;
  return 'spot=false is not allowed; leave it out or say spot=true.';
}

function whyRewindNotAllowed({ rewind }: LabelRequest, policy: Policy): string | undefined {
  if (rewind !== true || policy.allowRewind) return undefined;
  return 'rewind=true is not allowed; leave it out.';
}

/** Whether the job may be resumed from a checkpoint, which does again what it did since then. */
export function wantsRewind(labels: readonly string[]): boolean {
  return labels.some((label) => {
    const parsed = parseLabel(label);
    return parsed.kind === 'parsed' && parsed.request.rewind === true;
  });
}

/** Whether the job must never be run again, whatever became of it. */
export function refusesRerun(labels: readonly string[]): boolean {
  return labels.some((label) => {
    const parsed = parseLabel(label);
    return parsed.kind === 'parsed' && parsed.request.rerun === false;
  });
}

function instanceClassOf({ cpu, ram, disk, arch }: NamedClass): InstanceClass {
  return { vcpus: cpu, memoryMib: ram * 1024, diskGib: disk, arch };
}
