/** What is wrong with a setting and how it is put right, in words. Pure. */
import type { z } from 'zod';

/** A typing error at most this far away is taken for the key that was meant. */
const MAX_TYPOS = 2;

type Issue = z.core.$ZodIssue;

/**
 * One sentence without the setting's name. `value` is what stands there; `known` are the keys of
 * the mapping that holds an unknown one, where they can be told.
 */
export function explainIssue(issue: Issue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return value === undefined
        ? `is needed: ${nameOf(issue.expected)}`
        : `wants ${nameOf(issue.expected)}, not ${kindOf(value)}`;
    case 'invalid_value':
      return value === undefined
        ? `is needed: ${choices(issue.values)}`
        : `wants ${choices(issue.values)}`;
    case 'too_small':
      return `wants at least ${issue.minimum}${unitOf(issue.origin)}`;
    case 'too_big':
      return `wants at most ${issue.maximum}${unitOf(issue.origin)}`;
    case 'invalid_format':
      return explainFormat(issue);
    default:
      return issue.message;
  }
}

/** `known` are the settings of that place. */
export function explainUnknownKey(key: string, known: readonly string[]): string {
  const close = known.find((name) => distance(name.toLowerCase(), key.toLowerCase()) <= MAX_TYPOS);
  if (close !== undefined) return `is no setting; did you mean ${close}?`;
  return known.length === 0
    ? 'is no setting; remove it'
    : `is no setting; known here: ${known.join(', ')}`;
}

function explainFormat(issue: Extract<Issue, { code: 'invalid_format' }>): string {
  if (!issue.message.startsWith('Invalid ')) return issue.message;
  if (issue.format === 'url') return 'wants a URL';
  if (issue.format === 'starts_with' && 'prefix' in issue) {
    return issue.prefix === '/' ? 'wants an absolute path' : `has to begin with ${issue.prefix}`;
  }
  return `has to look like ${issue.pattern ?? issue.format}`;
}

function nameOf(expected: string): string {
  const names: Readonly<Record<string, string>> = {
    int: 'a whole number',
    number: 'a number',
    string: 'a text',
    boolean: 'true or false',
    object: 'a mapping of settings',
    record: 'a mapping',
    array: 'a list',
  };
  return names[expected] ?? expected;
}

function kindOf(value: unknown): string {
  if (value === null) return 'nothing (leave the line out, or give a value)';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  return `the ${typeof value === 'string' ? 'text' : typeof value} ${JSON.stringify(value)?.slice(0, 60)}`;
}

function choices(values: readonly unknown[]): string {
  const all = values.map(String);
  const last = all.at(-1) ?? '';
  return all.length < 2 ? last : `${all.slice(0, -1).join(', ')} or ${last}`;
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters';
  return origin === 'array' ? ' entries' : '';
}

/** Levenshtein's; the words are setting names, so short. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [at, letter] of [...one].entries()) {
    const next = [at + 1];
    for (const [column, against] of [...other].entries()) {
      const replaced = (row[column] ?? 0) + (letter === against ? 0 : 1);
      next.push(Math.min(replaced, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
