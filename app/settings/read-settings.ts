/**
 * The settings: the file, overridden by the environment, checked by one schema. What is wrong is
 * said all at once, each with the file's line and column or the variable's name, and with its fix.
 *
 *   architect.yaml ─┐
 *   variables ──────┼─▶ one raw value, each part with its origin ─▶ schema ─▶ settings | ConfigError
 *   files they name ┘
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError } from './config-error.ts';
import { explainIssue, explainUnknownKey } from './explain-issue.ts';
import {
  isMapping,
  type PositionedYaml,
  readPositionedYaml,
  valueAt,
  type YamlPath,
} from './positioned-yaml.ts';
import { knownKeys } from './schema-keys.ts';
import { settingOf, VARIABLES, variableOf } from './variables.ts';

/** Where the file is looked for when ARCHITECT_CONFIG names none. */
export const DEFAULT_CONFIG_FILE = '/etc/architect/architect.yaml';

const NO_FILE = `${DEFAULT_CONFIG_FILE}: is not there; architect setup registers an App and writes it`;

interface Source {
  /** For the reader: a file's path or a variable's name. */
  readonly name: string;
  /** Where in the settings it begins. */
  readonly path: readonly string[];
  /** Undefined: a variable's own text. */
  readonly yaml: PositionedYaml | undefined;
}

interface Raw {
  readonly value: Record<string, unknown>;
  readonly sources: readonly Source[];
}

/** The file that is read; undefined: there is none, and the environment is all. */
export function configFileOf(environment: NodeJS.ProcessEnv): string | undefined {
  const named = environment.ARCHITECT_CONFIG;
  if (named !== undefined) return named;
  return readIfThere(DEFAULT_CONFIG_FILE) === undefined ? undefined : DEFAULT_CONFIG_FILE;
}

/** The environment with the file that a command line names. */
export function withConfigFile(
  environment: NodeJS.ProcessEnv,
  file: string | undefined,
): NodeJS.ProcessEnv {
  return file === undefined ? environment : { ...environment, ARCHITECT_CONFIG: resolve(file) };
}

/**
 * `schema` is Settings or a part of it; what the schema does not hold is not looked at unless it is
 * strict. Throws ConfigError.
 */
export function readSettings<Schema extends z.ZodObject>(
  schema: Schema,
  environment: NodeJS.ProcessEnv,
): z.output<Schema> {
  const raw = gather(environment);
  const parsed = schema.safeParse(raw.value);
  const secrets = raw.sources.flatMap(passwordsIn);
  if (parsed.success && secrets.length === 0) return parsed.data;
  const wrong = parsed.success
    ? []
    : parsed.error.issues.flatMap((issue) => describeIssue(issue, { raw, schema }));
  throw unusable([
    ...wrong,
    ...secrets,
    ...(configFileOf(environment) === undefined ? [NO_FILE] : []),
  ]);
}

function unusable(lines: readonly string[]): ConfigError {
  const all = lines.map((line) => `  ${line}`).join('\n');
  return new ConfigError(
    `The configuration is not usable:\n${all}\nSee "Configuration" in README.md.`,
  );
}

function gather(environment: NodeJS.ProcessEnv): Raw {
  const path = configFileOf(environment);
  const file = path === undefined ? undefined : readFileSource(path, []);
  const value = mappingOf(structuredClone(file?.yaml?.value), file);
  const sources: Source[] = file === undefined ? [] : [file];
  for (const variable of VARIABLES) {
    const holder = holderOf(value, variable.path);
    const text = environment[variable.name];
    if (holder === undefined || text === undefined) continue;
    const leaf = variable.path.at(-1) ?? '';
    if (variable.kind === 'file') {
      const source = readFileSource(text, variable.path);
      sources.unshift(source);
      holder[leaf] = source.yaml?.value;
    } else {
      sources.unshift({ name: variable.name, path: variable.path, yaml: undefined });
      holder[leaf] = settingOf(variable, text);
    }
  }
  return { value, sources };
}

/** The mapping that the last step is in; made where missing, undefined where something else stands. */
function holderOf(value: unknown, path: readonly string[]): Record<string, unknown> | undefined {
  let holder = value;
  for (const step of path.slice(0, -1)) {
    if (!isMapping(holder)) return undefined;
    if (holder[step] === undefined) holder[step] = {};
    holder = holder[step];
  }
  return isMapping(holder) ? holder : undefined;
}

function mappingOf(value: unknown, file: Source | undefined): Record<string, unknown> {
  if (value === undefined) return {};
  if (isMapping(value)) return value;
  throw unusable([`${file?.name}:1:1 wants settings, each as NAME: VALUE`]);
}

function readFileSource(name: string, path: readonly string[]): Source {
  const text = readIfThere(name);
  if (text === undefined) throw unusable([`${name}: is not there; write it, or name another file`]);
  const yaml = readPositionedYaml(text);
  if (yaml.kind === 'yaml') return { name, path, yaml };
  throw unusable([`${name}:${yaml.place.line}:${yaml.place.column} ${yaml.message}`]);
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new ConfigError(
      `Cannot read ${path}. Run this as the user that runs architect, or name another by ARCHITECT_CONFIG.`,
      { cause },
    );
  }
}

interface Given {
  readonly raw: Raw;
  readonly schema: z.ZodType;
}

function describeIssue(issue: z.core.$ZodIssue, { raw, schema }: Given): readonly string[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schema, path);
    return issue.keys.map((key) => {
      const what = `${[...path, key].join('.')} ${explainUnknownKey(key, known)}`;
      return `${whereIs(raw, path, key)}${what}`;
    });
  }
  const value = valueAt(raw.value, path);
  const source = sourceOf(raw, path);
  const what = explainIssue(issue, value);
  if (source !== undefined && source.yaml === undefined) return [`${source.name}: ${what}`];
  const variable = variableOf(path);
  if (value === undefined && variable !== undefined && source === undefined)
    return [`${variable.name}: is not set`];
  const or = value === undefined && variable !== undefined ? ` (or ${variable.name})` : '';
  return [`${whereIs(raw, path)}${path.join('.')} ${what}${or}`];
}

/** `FILE:LINE:COLUMN `, empty where nothing was read that holds it. */
function whereIs(raw: Raw, path: YamlPath, key?: string): string {
  const source = sourceOf(raw, path);
  if (source?.yaml === undefined) return '';
  const below = path.slice(source.path.length);
  const at = key === undefined ? source.yaml.placeOf(below) : source.yaml.placeOfKey(below, key);
  return `${source.name}:${at.line}:${at.column} `;
}

function sourceOf({ sources }: Raw, path: YamlPath): Source | undefined {
  return sources.find((source) => source.path.every((step, at) => step === path[at]));
}

const WithRedisUrl = z.object({ redis: z.object({ url: z.url() }) });

/** The file may be read by more than the one who may use the password. */
function passwordsIn({ name, path, yaml }: Source): readonly string[] {
  if (yaml === undefined || path.length > 0) return [];
  const parsed = WithRedisUrl.safeParse(yaml.value);
  if (!parsed.success || new URL(parsed.data.redis.url).password === '') return [];
  const at = yaml.placeOf(['redis', 'url']);
  return [
    `${name}:${at.line}:${at.column} redis.url holds a password; put the URL into a file with mode 0600 and name that as redis.urlFile`,
  ];
}
