import { describe, expect, it } from 'vitest';
import { matchesAny, parseEc2Settings, policyOf } from './ec2-settings.ts';

const LEAST = {
  region: 'eu-central-1',
  ami: 'ami-0123456789abcdef0',
  subnets: ['subnet-0123456789abcdef0'],
  securityGroups: ['sg-0123456789abcdef0'],
  fleet: { maxUsdPerHour: 2 },
};

describe('parseEc2Settings', () => {
  it('takes the least, and chooses the safe', () => {
    expect(parseEc2Settings(LEAST, 'f')).toMatchObject({
      publicAddress: false,
      fallbacks: ['type', 'zone', 'on-demand'],
    });
  });

  it.each([
    ['a maximum spend is missing', { fleet: {} }, 'fleet.maxUsdPerHour'],
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
    expect(() => parseEc2Settings({ ...LEAST, ...over }, '/etc/ec2.json')).toThrow(named);
  });

  it.each([
    ['off', { kind: 'off' }],
    ['one-host', { kind: 'one-host' }],
    [25, { kind: 'share', share: 0.25 }],
  ])('reads a headroom of %s', (headroom, expected) => {
    const settings = parseEc2Settings({ ...LEAST, fleet: { maxUsdPerHour: 2, headroom } }, 'f');
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
