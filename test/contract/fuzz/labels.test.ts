/** Labels as strangers write them, judged by what the README's table says of them and nothing else. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { classifyJob } from '../../../app/labels/classify-job.ts';
import { parseLabel } from '../../../app/labels/grammar.ts';
import { DEFAULT_POLICY } from '../../../app/labels/policy.ts';
import { judge } from './cases.ts';

const LABELS = 40_000;
const JOBS = 30_000;

const NUMBERS: Readonly<Record<string, number>> = { cpu: 256, ram: 4096, disk: 16_384 };
const WORDS: Readonly<Record<string, readonly string[]>> = {
  arch: ['x64', 'arm64'],
  ...{ spot: ['true', 'false'], rewind: ['true', 'false'], rerun: ['true', 'false'] },
};
const NAMES: Readonly<Record<string, number>> = { key: 128, class: 64 };
const NAME_CHARACTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-';
/** What the default policy allows, and the classes that it knows: vCPUs, GB, GB. */
const MOST = { cpu: 8, ram: 32, disk: 100 };
const CLASSES: Readonly<Record<string, readonly [number, number, number]>> = {
  ...{ '': [2, 4, 20], small: [1, 2, 20], medium: [4, 8, 20], large: [8, 16, 20] },
  '8cpu-32gb': [8, 32, 20],
};

const key = fc.constantFrom(
  ...['cpu', 'ram', 'disk', 'arch', 'spot', 'key', 'class', 'rewind', 'rerun'],
  ...['CPU', 'Ram', 'gpu', '', '__proto__', 'constructor', 'toString'],
);
const value = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: -1, max: 40 }).map(String) },
  fc.integer({ min: 0, max: 20_000 }).map(String),
  fc.constantFrom('true', 'FALSE', 'x64', 'ARM64', 'small', 'Large', '8cpu-32gb', 'hasOwnProperty'),
  fc.constantFrom('', '08', '1e1', '0x2', ' 2', '2 ', '1.0', '+4', '٣', '=', 'a=b', '__proto__'),
  fc.string({ maxLength: 140 }),
  fc.string({ unit: 'binary', maxLength: 6 }),
);
const setting = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(key, value).map(([name, text]) => `${name}=${text}`) },
  key,
  fc.string({ maxLength: 8 }),
);
const head = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('architect', 'Architect', 'ARCHITECT') },
  fc.constantFrom('architects', 'xarchitect', ' architect', 'architect ', 'arch', 'self-hosted'),
  fc.string({ maxLength: 12 }),
);
const label = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(head, fc.array(setting, { maxLength: 5 })) },
  fc.tuple(fc.string({ unit: 'binary' }), fc.constant([])),
);
const labels = label.map(([name, settings]) => [name, ...settings].join('/'));

type Meaning = 'not-ours' | 'wrong' | ReadonlyMap<string, string>;

function meaningOf(text: string): Meaning {
  if (text.slice(0, 9).toLowerCase() !== 'architect') return 'not-ours';
  const [name = '', ...settings] = text.split('/');
  if (text.length > 256 || name.length !== 9) return 'wrong';
  const meaning = new Map<string, string>();
  for (const one of settings) {
    const [given = '', ...rest] = one.split('=');
    const [known, said] = [given.toLowerCase(), rest.join('=')];
    if (rest.length === 0 || meaning.has(known) || !isAllowed(known, said)) return 'wrong';
    meaning.set(known, known === 'key' ? said : said.toLowerCase());
  }
  return meaning;
}

function isAllowed(known: string, said: string): boolean {
  const own = <T>(table: Readonly<Record<string, T>>) =>
    Object.hasOwn(table, known) ? table[known] : undefined;
  const [most, words, longest] = [own(NUMBERS), own(WORDS), own(NAMES)];
  if (most !== undefined) return isWhole(said) && Number(said) <= most;
  if (words !== undefined) return words.includes(said.toLowerCase());
  if (longest === undefined || said.length < 1 || said.length > longest) return false;
  return [...said].every((character) => NAME_CHARACTERS.includes(character));
}

function isWhole(said: string): boolean {
  return (
    said !== '' &&
    String(Number(said)) === said &&
    Number.isInteger(Number(said)) &&
    Number(said) >= 1
  );
}

it('each label says what it says, is refused, or is somebody else’s', () => {
  judge(labels, LABELS, (text) => {
    const meaning = meaningOf(text);
    const parsed = parseLabel(text);
    if (meaning === 'not-ours') expect(parsed.kind).toBe('not-ours');
    else if (meaning === 'wrong') expect(parsed.kind).toBe('refused');
    else {
      if (parsed.kind !== 'parsed') throw new Error(`${text} is ${parsed.kind}`);
      const said = Object.entries(parsed.request).map(([name, one]) => [name, String(one)]);
      expect(Object.fromEntries(said)).toEqual(Object.fromEntries(meaning));
    }
  });
});

/** Undefined: no VM may be started for it. */
function sizeOf(all: readonly string[]): readonly [number, number, number] | undefined {
  const ours = all.filter((text) => meaningOf(text) !== 'not-ours');
  const others = all.filter((text) => meaningOf(text) === 'not-ours');
  const meaning = ours.length === 1 ? meaningOf(ours[0] ?? '') : 'wrong';
  if (typeof meaning === 'string') return undefined;
  const known = ['self-hosted', 'linux', 'x64'];
  if (!others.every((text) => known.includes(text.toLowerCase()))) return undefined;
  const name = meaning.get('class') ?? '';
  const base = Object.hasOwn(CLASSES, name) ? CLASSES[name] : undefined;
  if (base === undefined || meaning.get('arch') === 'arm64') return undefined;
  const [cpu, ram, disk] = [
    Number(meaning.get('cpu') ?? base[0]),
    Number(meaning.get('ram') ?? base[1]),
    Number(meaning.get('disk') ?? base[2]),
  ];
  const fits = cpu <= MOST.cpu && ram <= MOST.ram && disk <= MOST.disk;
  return fits ? [cpu, ram * 1024, disk] : undefined;
}

it('no job gets another size than it asks for, nor one that the policy forbids', () => {
  const company = fc.oneof(fc.constantFrom('self-hosted', 'Linux', 'X64', 'gpu-farm'), labels);
  const jobs = fc.tuple(labels, fc.array(company, { maxLength: 2 })).map((parts) => parts.flat());
  judge(jobs, JOBS, (all) => {
    const job = classifyJob({ labels: all, repository: 'acme/widgets' }, DEFAULT_POLICY);
    const size = sizeOf(all);
    if (job.kind !== 'served') expect(size).toBeUndefined();
    else {
      const { vcpus, memoryMib, diskGib } = job.class;
      expect([vcpus, memoryMib, diskGib]).toEqual(size);
    }
    const isOurs = all.some((text) => meaningOf(text) !== 'not-ours');
    expect(job.kind === 'not-ours').toBe(!isOurs);
  });
});
