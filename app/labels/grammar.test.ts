import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LabelRequest, parseLabel, printLabel } from './grammar.ts';

const request: fc.Arbitrary<LabelRequest> = fc.record(
  {
    cpu: fc.integer({ min: 1, max: 256 }),
    ram: fc.integer({ min: 1, max: 4096 }),
    disk: fc.integer({ min: 1, max: 16_384 }),
    arch: fc.constantFrom('x64' as const, 'arm64' as const),
    spot: fc.boolean(),
    key: fc.stringMatching(/^[A-Za-z0-9._-]{1,100}$/),
    class: fc.stringMatching(/^[a-z0-9._-]{1,30}$/),
    rewind: fc.boolean(),
    rerun: fc.boolean(),
  },
  { requiredKeys: [] },
);

/** Labels near the grammar: right and wrong pieces in any order. */
const nearLabel = fc
  .tuple(
    fc.constantFrom('architect', 'Architect', 'ARCHITECT', 'architects', 'arch', ' architect'),
    fc.array(
      fc.constantFrom(
        ...['cpu=4', 'CPU=8', 'cpu=0', 'cpu=04', 'cpu=257', 'cpu', 'ram=16', 'ram=1.5', 'ram=-1'],
        ...['disk=16384', 'disk=16385', 'arch=x64', 'arch=ARM64', 'arch=mips', 'spot=TRUE'],
        ...['spot=no', 'key=a.b_C-1', 'key=', 'key=a b', 'class=large', 'class=', 'rewind=true'],
        ...['rerun=false', 'gpu=1', '', '=', 'cpu=4=4', 'constructor=1', '__proto__=1'],
      ),
      { maxLength: 4 },
    ),
  )
  .map(([name, settings]) => [name, ...settings].join('/'));

/** The grammar once more, by one regular expression per setting and nothing shared. */
function oracle(label: string): 'not-ours' | 'parsed' | 'refused' {
  const lower = label.toLowerCase();
  if (!lower.startsWith('architect')) return 'not-ours';
  const number = (max: number) => (text: string) =>
    /^[0-9]+$/.test(text) && String(Number(text)) === text && +text > 0 && +text <= max;
  const oneOf =
    (...words: string[]) =>
    (text: string) =>
      words.includes(text);
  const accepts = new Map<string, (text: string) => boolean>([
    ['cpu', number(256)],
    ['ram', number(4096)],
    ['disk', number(16384)],
    ['arch', oneOf('x64', 'arm64')],
    ['key', (text) => /^[\w.-]{1,128}$/.test(text)],
    ['class', (text) => /^[\w.-]{1,64}$/.test(text)],
    ...['spot', 'rewind', 'rerun'].map((key) => [key, oneOf('true', 'false')] as const),
  ]);
  if (label.length > 256) return 'refused';
  const parts = lower.split('/');
  const names = parts.slice(1).map((part) => part.split('=')[0] ?? '');
  const good = parts.slice(1).every((part) => {
    const match = /^([a-z]+)=(.*)$/s.exec(part);
    return match !== null && (accepts.get(match[1] ?? '')?.(match[2] ?? '') ?? false);
  });
  return parts[0] === 'architect' && good && new Set(names).size === names.length
    ? 'parsed'
    : 'refused';
}

describe('parseLabel', () => {
  it.each([
    ['ubuntu-latest', { kind: 'not-ours' }],
    ['architect', { kind: 'parsed', request: {} }],
    ['Architect/CPU=4/Ram=16', { kind: 'parsed', request: { cpu: 4, ram: 16 } }],
    [
      'architect/cpu=4/ram=16/disk=40/arch=x64/spot=false/key=123-build-0',
      {
        kind: 'parsed',
        request: { cpu: 4, ram: 16, disk: 40, arch: 'x64', spot: false, key: '123-build-0' },
      },
    ],
  ])('reads %s', (label, expected) => {
    expect(parseLabel(label)).toEqual(expected);
  });

  it.each([
    ['architect/gpu=1', /"gpu".*known: cpu, ram/],
    ['architect/cpu=lots', /"cpu" wants a whole number from 1 to 256/],
    ['architect/cpu=2/CPU=4', /"cpu".*more than once/],
    ['architect/', /Unknown key ""/],
    ['architectural', /neither/],
    [`architect/key=${'k'.repeat(129)}`, /"key" wants 1 to 128/],
    [`architect/key=${'k'.repeat(300)}`, /longer than 256/],
  ])('refuses %s with a reason', (label, why) => {
    expect(parseLabel(label)).toMatchObject({ kind: 'refused', why: expect.stringMatching(why) });
  });

  it('reads back what printLabel printed', () => {
    fc.assert(
      fc.property(request, (asked) => {
        expect(parseLabel(printLabel(asked))).toEqual({ kind: 'parsed', request: asked });
      }),
    );
  });

  it('agrees with the oracle and throws for no string', () => {
    const text = fc.oneof(
      nearLabel,
      fc.string(),
      fc.string({ unit: 'binary' }).map((tail) => `architect/${tail}`),
    );
    fc.assert(
      fc.property(text, (label) => {
        expect(parseLabel(label).kind).toBe(oracle(label));
      }),
      { numRuns: 2000 },
    );
  });
});
