/** What a job may take of the fleet beside others, by the operator's policy. Pure. */
import type { JobCap, JobShare } from '../planner/observed.ts';
import type { JobOrigin } from '../records/records.ts';
import { parseLabel } from './grammar.ts';
import { type ConcurrencyRule, matchesRepository, type Policy } from './policy.ts';

export interface SharingJob {
  readonly origin: JobOrigin;
  readonly labels: readonly string[];
}

export function shareOf(job: SharingJob, policy: Policy): JobShare {
  const { installationId, owner, repo } = job.origin;
  const repository = `${owner}/${repo}`;
  const className = classOf(job.labels);
  const applies = (rule: Pick<ConcurrencyRule, 'match' | 'class'>) =>
    matchesRepository(rule.match, repository) &&
    (rule.class === undefined || rule.class === className);
  return {
    ...{ installationId, owner, repo },
    priority: policy.priorities.find(applies)?.priority ?? 0,
    caps: policy.concurrency.flatMap((rule, at) => (applies(rule) ? [capOf(rule, at, job)] : [])),
  };
}

function capOf(rule: ConcurrencyRule, at: number, { origin }: SharingJob): JobCap {
  const { each, maxVms, match, class: className } = rule;
  const what = className === undefined ? '' : `, class ${className}`;
  const { owner, repo } = origin;
  if (each === 'organization')
    return { key: `${at} ${owner}`.toLowerCase(), maxVms, name: `${owner}${what}` };
  if (each === 'repository')
    return { key: `${at} ${owner}/${repo}`.toLowerCase(), maxVms, name: `${owner}/${repo}${what}` };
  return { key: `${at}`, maxVms, name: `${match}${what}` };
}

/** The named class that its label asks for. */
function classOf(labels: readonly string[]): string | undefined {
  for (const label of labels) {
    const parsed = parseLabel(label);
    if (parsed.kind === 'parsed') return parsed.request.class;
  }
  return undefined;
}
