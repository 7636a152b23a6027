import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { Ec2Settings, matchesAny, policyOf } from './ec2-settings.ts';

const LEAST = {
  region: 'eu-central-1',
  ami: 'ami-0123456789abcdef0',
  subnets: ['subnet-0123456789abcdef0'],
  securityGroups: ['sg-0123456789abcdef0'],
  fleet: { maxUsdPerHour: 2 },
};

describe('Ec2Settings', () => {
  it('takes the least, and chooses the safe', () => {
    expect(Ec2Settings.parse(LEAST)).toMatchObject({
      publicAddress: false,
      fallbacks: ['type', 'zone', 'on-demand'],
    });
  });

  it.each([
    ['a maximum spend is missing', { fleet: {} }, 'maxUsdPerHour'],
    ['a field is misspelt', { amii: 'x' }, 'amii'],
    [
      'a branch stands for a commit',
      { bootstrap: { repository: 'https://g', ref: 'main' } },
      'ref',
    ],
    [
      'the repository is read in the clear',
      { bootstrap: { repository: 'http://g' } },
      'repository',
    ],
    ['a variable is none of ours', { agentEnvironment: { PATH: '/' } }, 'PATH'],
  ])('refuses when %s, and names it', (_, over, named) => {
    expect(() => Ec2Settings.parse({ ...LEAST, ...over })).toThrow(named);
  });

  it.each([
    ['off', { kind: 'off' }],
    ['one-host', { kind: 'one-host' }],
    [25, { kind: 'share', share: 0.25 }],
  ])('reads a headroom of %s', (headroom, expected) => {
    const settings = Ec2Settings.parse({ ...LEAST, fleet: { maxUsdPerHour: 2, headroom } });
    expect(policyOf(settings)).toMatchObject({ headroom: expected, maxUsdPerHour: 2, minHosts: 1 });
  });
});

it.each([
  ['m8i.xlarge', undefined, true],
  ['m8i.xlarge', ['m8i.*'], true],
  ['m8i-flex.xlarge', ['m8i.*'], false],
  ['m8ixxlarge', ['m8i.*'], false],
  ['c5.metal', ['m8i.*', '*.metal'], true],
])('%s matches %j: %s', (name, patterns, expected) => {
  expect(matchesAny(name, patterns)).toBe(expected);
});

describe('README', () => {
  const readme = readFileSync(join(import.meta.dirname, '../../../README.md'), 'utf8');
  const blocks = [...readme.matchAll(/```json\n([\s\S]*?)```/g)].map(([, text]) => text ?? '');
  const find = (word: string) => JSON.parse(blocks.find((text) => text.includes(word)) ?? 'null');

  it('has settings that are usable', () => {
    expect(Ec2Settings.parse(find('maxUsdPerHour')).fleet.maxUsdPerHour).toBe(3);
  });

  it('has a policy that allows just what is asked of EC2', () => {
    const { Statement } = z
      .object({
        Statement: z.array(z.object({ Action: z.union([z.string(), z.array(z.string())]) })),
      })
      .parse(find('Statement'));
    const allowed = Statement.flatMap(({ Action }) => Action).filter((one) =>
      one.startsWith('ec2:'),
    );
    const sources = readdirSync(import.meta.dirname)
      .filter((name) => !name.endsWith('.test.ts'))
      .map((name) => readFileSync(join(import.meta.dirname, name), 'utf8'));
    const asked = sources.flatMap((text) =>
      [...text.matchAll(/sdk\.(?:paginate(\w+)|(\w+)Command)\(/g)].map(
        ([, paged, sent]) => `ec2:${paged ?? sent}`,
      ),
    );
    // CreateFleet runs instances and tags them in the caller's name.
    const implied = ['ec2:RunInstances', 'ec2:CreateTags'];
    expect(new Set(allowed)).toEqual(new Set([...asked, ...implied]));
  });
});
