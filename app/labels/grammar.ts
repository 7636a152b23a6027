/**
 * The grammar of `runs-on` labels that ask for a VM. Pure: what a label says, not whether it is
 * allowed (resolve-class.ts) and not what it costs.
 *
 *   label   = "architect" *( "/" setting )        case-insensitive, at most 256 characters
 *   setting = key "=" value                       each key at most once
 *
 *   cpu    virtual CPUs, 1–256            ram   memory in GB, 1–4096
 *   disk   disk in GB, 1–16384            arch  x64 | arm64
 *   spot   true | false                   class a named class of the operator's policy
 *   key    opaque, 1–128 of A-Z a-z 0-9 . _ - ; makes the label unlike other jobs' labels
 *   rewind true | false: after its host's sudden death the job goes on from its last checkpoint,
 *          and what it did since then is done again
 *   rerun  true | false: a lost job is never run again where false, whatever the operator allows
 *
 * Everything that begins with `architect` is ours: what cannot be understood is refused with a
 * reason, never passed over, since no other runner would pick such a job up either.
 */
import { type Refused, refused } from '../../host-agent/protocol/errors.ts';
import type { Architecture } from '../../host-agent/protocol/instance-class.ts';

export const MAX_LABEL_CHARACTERS = 256;

export interface LabelRequest {
  readonly cpu?: number;
  readonly ram?: number;
  readonly disk?: number;
  readonly arch?: Architecture;
  readonly spot?: boolean;
  readonly key?: string;
  readonly class?: string;
  readonly rewind?: boolean;
  readonly rerun?: boolean;
}

export type ParsedLabel =
  | { readonly kind: 'not-ours' }
  | { readonly kind: 'parsed'; readonly request: LabelRequest }
  | Refused;

type Key = keyof LabelRequest;

/** What a value may be, in words for the user, and how it is read; undefined: not allowed. */
interface ValueRule<T> {
  readonly wants: string;
  readonly read: (text: string) => T | undefined;
}

const RULES: { readonly [K in Key]-?: ValueRule<NonNullable<LabelRequest[K]>> } = {
  cpu: wholeNumber(256),
  ram: wholeNumber(4096),
  disk: wholeNumber(16_384),
  arch: {
    wants: 'x64 or arm64',
    read: (text) => {
      const name = text.toLowerCase();
      return name === 'x64' || name === 'arm64' ? name : undefined;
    },
  },
  spot: trueOrFalse(),
  key: {
    wants: '1 to 128 of the characters A-Z a-z 0-9 . _ -',
    read: (text) => (/^[A-Za-z0-9._-]{1,128}$/.test(text) ? text : undefined),
  },
  class: {
    wants: 'the name of a class: 1 to 64 of the characters a-z 0-9 . _ -',
    read: (text) => (/^[A-Za-z0-9._-]{1,64}$/.test(text) ? text.toLowerCase() : undefined),
  },
  rewind: trueOrFalse(),
  rerun: trueOrFalse(),
};

const KEYS: readonly Key[] = [
  'cpu',
  'ram',
  'disk',
  'arch',
  'spot',
  'key',
  'class',
  'rewind',
  'rerun',
];

/** Never throws; the reason of a refusal names the key and what it may hold. */
export function parseLabel(text: string): ParsedLabel {
  if (!/^architect/i.test(text)) return { kind: 'not-ours' };
  if (text.length > MAX_LABEL_CHARACTERS)
    return refused(`The label is longer than ${MAX_LABEL_CHARACTERS} characters.`);
  const [name = '', ...settings] = text.split('/');
  if (name.toLowerCase() !== 'architect')
    return refused(
      `The label "${shown(text)}" is neither "architect" nor "architect/KEY=VALUE/…".`,
    );
  const request: Record<string, string | number | boolean> = {};
  for (const setting of settings) {
    const why = readSetting(setting, request);
    if (why !== undefined) return refused(why);
  }
  return { kind: 'parsed', request };
}

/** The label in its canonical form: keys in the grammar's order. `parseLabel` reads it back. */
export function printLabel(request: LabelRequest): string {
  const settings = KEYS.flatMap((key) => {
    const value = request[key];
    return value === undefined ? [] : [`${key}=${String(value)}`];
  });
  return ['architect', ...settings].join('/');
}

function readSetting(
  setting: string,
  into: Record<string, string | number | boolean>,
): string | undefined {
  const equals = setting.indexOf('=');
  const name = (equals < 0 ? setting : setting.slice(0, equals)).toLowerCase();
  const key = KEYS.find((known) => known === name);
  if (key === undefined)
    return `Unknown key "${shown(name)}" in the label; known: ${KEYS.join(', ')}.`;
  if (key in into) return `The key "${key}" stands in the label more than once.`;
  const rule = RULES[key];
  const value = equals < 0 ? undefined : rule.read(setting.slice(equals + 1));
  if (value === undefined) return `The key "${key}" wants ${rule.wants}.`;
  into[key] = value;
  return undefined;
}

/** A label is a stranger's text: it is cut and stripped of control characters before it is shown. */
function shown(text: string): string {
  return text.slice(0, 40).replaceAll(/[^\x20-\x7e]/g, '?');
}

function wholeNumber(max: number): ValueRule<number> {
  return {
    wants: `a whole number from 1 to ${max}`,
    read: (text) => {
      const value = /^[1-9]\d{0,5}$/.test(text) ? Number(text) : 0;
      return value >= 1 && value <= max ? value : undefined;
    },
  };
}

function trueOrFalse(): ValueRule<boolean> {
  return {
    wants: 'true or false',
    read: (text) => {
      const word = text.toLowerCase();
      return word === 'true' || word === 'false' ? word === 'true' : undefined;
    },
  };
}
