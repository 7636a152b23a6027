/**
 * What a repository says of itself, in `.github/architect.yml` of its default branch:
 *
 *   classes:
 *     nightly: { cpu: 8, ram: 32, disk: 60 }
 *   concurrency:
 *     - { class: nightly, maxVms: 2 }
 *     - { maxVms: 10 }
 *
 * It names sizes and holds itself back; it never allows what the operator's policy does not. A size is
 * judged by the policy's limits like any other, a class that the policy has cannot be redefined, and
 * caps only ever add to the policy's. Pure.
 */
import { z } from 'zod';
import { parseYaml, type YamlProblem } from '../settings/parse-yaml.ts';
import { ClassName, MaxVms, NamedClass, type Policy } from './policy.ts';

export const REPOSITORY_FILE = '.github/architect.yml';
export const MAX_REPOSITORY_FILE_BYTES = 64 * 1024;
const MAX_CLASSES = 100;
const MAX_CAPS = 100;
/** For the author of a job; the rest follows when the first are put right. */
const MAX_TOLD = 3;
const TOO_LONG = `${REPOSITORY_FILE} cannot be used: it is longer than ${MAX_REPOSITORY_FILE_BYTES / 1024} KiB.`;

export const RepositoryFile = z.strictObject({
  classes: z
    .record(ClassName, NamedClass)
    .refine((classes) => Object.keys(classes).length <= MAX_CLASSES, `wants ${MAX_CLASSES} at most`)
    .default({}),
  concurrency: z
    .array(z.strictObject({ class: ClassName.optional(), maxVms: MaxVms }))
    .max(MAX_CAPS)
    .default([]),
});

/** The operator's policy with what a repository adds, or why it adds nothing. */
export interface RepositoryPolicy {
  readonly policy: Policy;
  /** The file cannot be used: sentences with line and column. */
  readonly fault: string | undefined;
}

/** What GitHub gave of it. */
export type RepositoryText =
  | { readonly kind: 'absent' }
  | { readonly kind: 'too-long' }
  | { readonly kind: 'text'; readonly text: string };

/** `repository` is `owner/repo`. */
export function policyOfRepository(
  policy: Policy,
  repository: string,
  given: RepositoryText,
): RepositoryPolicy {
  if (given.kind === 'absent') return { policy, fault: undefined };
  if (given.kind === 'too-long') return { policy, fault: TOO_LONG };
  const parsed = parseYaml(RepositoryFile, given.text);
  if (parsed.kind === 'malformed') return { policy, fault: faultOf(parsed.problems) };
  const { classes, concurrency } = parsed.value;
  const taken = Object.keys(classes).filter((name) => Object.hasOwn(policy.classes, name));
  const problems = taken.map((name) => ({
    place: parsed.yaml.placeOfKey(['classes'], name),
    what: `classes.${name} is the operator's; choose another name`,
  }));
  if (problems.length > 0) return { policy, fault: faultOf(problems) };
  const caps = concurrency.map((cap) => ({
    ...cap,
    match: repository,
    each: 'repository' as const,
  }));
  return {
    policy: {
      ...policy,
      classes: { ...policy.classes, ...classes },
      concurrency: [...policy.concurrency, ...caps],
    },
    fault: undefined,
  };
}

function faultOf(problems: readonly YamlProblem[]): string {
  const told = problems
    .slice(0, MAX_TOLD)
    .map(({ place, what }) => `line ${place.line}, column ${place.column}: ${what}`);
  return `${REPOSITORY_FILE} cannot be used: ${told.join('; ')}.`;
}
