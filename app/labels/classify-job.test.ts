import { describe, expect, it } from 'vitest';
import { policyOf } from '../../test/fixtures/policy.ts';
import { classifyJob, wantsRewind } from './classify-job.ts';
import { DEFAULT_POLICY } from './policy.ts';

const GIB = 1024;

function classify(labels: string[], policy = DEFAULT_POLICY, repository = 'acme/shop') {
  return classifyJob({ labels, repository }, policy);
}

describe('classifyJob', () => {
  it.each([
    [['ubuntu-latest'], { kind: 'not-ours' }],
    [['architect'], { kind: 'served', class: { vcpus: 2, memoryMib: 4 * GIB, diskGib: 20 } }],
    [['self-hosted', 'Linux', 'architect'], { kind: 'served', class: { vcpus: 2 } }],
    [['architect/cpu=4/ram=16/disk=40/arch=x64/spot=false/key=1-build-0'], { kind: 'served' }],
    [['architect/class=8cpu-32gb'], { kind: 'served', class: { vcpus: 8, memoryMib: 32 * GIB } }],
    [['architect/class=large/cpu=2'], { kind: 'served', class: { vcpus: 2, memoryMib: 16 * GIB } }],
  ])('%j', (labels, expected) => {
    expect(classify(labels)).toMatchObject(expected);
  });

  it.each([
    [['architect/cpu=9'], /cpu=9 is above the allowed 8/],
    [['architect/ram=64'], /ram=64 is above/],
    [['architect/disk=101'], /disk=101 is above/],
    [['architect/arch=arm64'], /arch=arm64 is not allowed; allowed: x64/],
    [['architect/class=huge'], /no class "huge"; known: small/],
    [['architect/class=constructor'], /no class/],
    [['architect', 'architect/cpu=2'], /one architect label/],
    [['architect', 'production-signer'], /"production-signer" is not allowed/],
    [['architect/nonsense'], /Unknown key/],
  ])('refuses %j', (labels, why) => {
    expect(classify(labels)).toMatchObject({
      kind: 'refused',
      why: expect.stringMatching(why),
      class: { vcpus: 2 },
    });
  });

  it('keeps each repository within its own rule, the first that matches', () => {
    const policy = policyOf(`
repositories:
  - { match: acme/*, limits: { cpu: 4 }, classes: [small], allowOnDemand: false }
  - { match: other/tool }
`);
    expect(classify(['architect/cpu=5'], policy).kind).toBe('refused');
    expect(classify(['architect/class=medium'], policy).kind).toBe('refused');
    expect(classify(['architect/spot=false'], policy).kind).toBe('refused');
    expect(classify(['architect/class=small'], policy).kind).toBe('served');
    expect(classify(['architect/cpu=5'], policy, 'other/tool').kind).toBe('served');
    expect(classify(['architect'], policy, 'acme.evil/shop').kind).toBe('refused');
  });

  it('lets a job opt in to being rewound, where the policy does', () => {
    const labels = ['self-hosted', 'architect/rewind=true'];
    expect(classify(labels)).toMatchObject({ kind: 'served', request: { rewind: true } });
    expect(classify(labels, policyOf('allowRewind: false'))).toMatchObject({ kind: 'refused' });
    expect(wantsRewind(labels)).toBe(true);
    expect(wantsRewind(['architect/rewind=false'])).toBe(false);
    expect(wantsRewind(['rewind=true'])).toBe(false);
  });

  it('allows what the grammar can say when the operator turns the allow-list off', () => {
    const policy = policyOf('allowList: false');
    expect(classify(['architect/cpu=64/arch=arm64', 'gpu-lab'], policy).kind).toBe('served');
    const served = policyOf('{allowList: false, repositories: [{match: acme/*}]}');
    expect(classify(['architect'], served)).toMatchObject({ kind: 'served' });
    expect(classify(['architect'], served, 'other/shop')).toMatchObject({
      kind: 'refused',
      why: expect.stringMatching(/does not serve other\/shop/),
    });
  });
});

describe('Policy', () => {
  it('has defaults for what is not said', () => {
    expect(policyOf('{"limits":{"cpu":2}}').limits).toEqual({ cpu: 2, ram: 32, disk: 100 });
    expect(policyOf('')).toEqual(DEFAULT_POLICY);
  });

  it.each(['limits: { cpus: 4 }', 'classes: { Big: { cpu: 1, ram: 1 } }', '- 1'])(
    'refuses %s',
    (text) => {
      expect(() => policyOf(text)).toThrow();
    },
  );
});
