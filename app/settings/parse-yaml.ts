/** A YAML text against its schema; what is wrong with it is told with its place and its fix. Pure. */
import type { z } from 'zod';
import { explainIssue, explainUnknownKey } from './explain-issue.ts';
import { type Place, type PositionedYaml, readPositionedYaml, valueAt } from './positioned-yaml.ts';
import { knownKeys } from './schema-keys.ts';

export interface YamlProblem {
  readonly place: Place;
  /** With the name of what it is about in front. */
  readonly what: string;
}

export type ParsedYaml<T> =
  | { readonly kind: 'parsed'; readonly value: T; readonly yaml: PositionedYaml }
  | { readonly kind: 'malformed'; readonly problems: readonly YamlProblem[] };

export function parseYaml<Schema extends z.ZodType>(
  schema: Schema,
  text: string,
): ParsedYaml<z.output<Schema>> {
  const yaml = readPositionedYaml(text);
  if (yaml.kind === 'fault')
    return { kind: 'malformed', problems: [{ place: yaml.place, what: `It ${yaml.message}` }] };
  const parsed = schema.safeParse(yaml.value);
  if (parsed.success) return { kind: 'parsed', value: parsed.data, yaml };
  const problems = parsed.error.issues.flatMap((issue) => problemsOf(issue, { schema, yaml }));
  return { kind: 'malformed', problems };
}

function problemsOf(
  issue: z.core.$ZodIssue,
  { schema, yaml }: { readonly schema: z.ZodType; readonly yaml: PositionedYaml },
): readonly YamlProblem[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      place: yaml.placeOfKey(path, key),
      what: `${[...path, key].join('.')} ${explainUnknownKey(key, knownKeys(schema, path))}`,
    }));
  }
  const what = explainIssue(issue, valueAt(yaml.value, path));
  return [{ place: yaml.placeOf(path), what: `${path.join('.')} ${what}`.trim() }];
}
