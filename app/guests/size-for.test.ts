import { expect, it } from 'vitest';
import { jobRecord } from '../../test/fixtures/records.ts';
import { Policy } from '../labels/policy.ts';
import { type SizeRules, sizeFor } from './size-for.ts';

const POLICY = Policy.parse({
  classes: {
    big: { cpu: 8, ram: 16 },
    tiny: { cpu: 1, ram: 1 },
    huge: { cpu: 64, ram: 8 },
    scarce: { cpu: 4, ram: 8 },
    other: { cpu: 4, ram: 8, arch: 'arm64' },
  },
  architectures: ['x64', 'arm64'],
  repositories: [{ match: 'acme/secret', classes: ['tiny'] }, { match: 'acme/*' }],
  concurrency: [{ match: '*', class: 'scarce', maxVms: 1 }],
});
const rules = (accelerator: 'kvm' | 'tcg' = 'kvm'): SizeRules => ({
  policy: POLICY,
  pool: { accelerator, arch: 'x64' },
});
const JOB = jobRecord();
const SECRET = jobRecord({ origin: { ...JOB.origin, repo: 'secret' } });

it.each([
  ['big', 'kvm', { vcpus: 8, memoryMib: 16_384 }],
  ['tiny', 'kvm', { vcpus: 1, memoryMib: 1_024 }],
  ['tiny', 'tcg', { vcpus: 1, memoryMib: 4_096 }],
] as const)('%s under %s', (name, accelerator, size) => {
  expect(sizeFor(name, JOB, rules(accelerator))).toEqual(size);
});

it('goes back to what the label asked for', () => {
  const { vcpus, memoryMib } = JOB.class;
  expect(sizeFor(null, JOB, rules())).toEqual({ vcpus, memoryMib });
});

it.each([
  ['a class that nobody knows', 'giant', JOB, 'There is no class "giant"'],
  ['a class above the limits', 'huge', JOB, 'cpu=64 is above the allowed 8'],
  ['a class that this repository may not have', 'big', SECRET, 'class=big is not allowed here'],
  ['a class that is capped', 'scarce', JOB, 'has a cap of its own'],
  ['another architecture', 'other', JOB, 'class=other is arm64, and this VM is x64'],
  ['a VM without a job', 'big', undefined, 'runs no job that is known here'],
])('refuses %s', (_what, name, job, why) => {
  expect(sizeFor(name, job, rules())).toMatchObject({
    kind: 'refused',
    why: expect.stringContaining(why),
  });
});
