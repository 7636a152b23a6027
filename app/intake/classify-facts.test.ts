import { expect, it } from 'vitest';
import { POOL } from '../../test/fixtures/protocol.ts';
import { jobFacts, vmRecord } from '../../test/fixtures/records.ts';
import { DEFAULT_POLICY } from '../labels/policy.ts';
import { classifyFacts } from './classify-facts.ts';

const vm = vmRecord({ id: 'vm-1' });
const evidence = { readVm: (id: string) => (id === vm.id ? vm : undefined) };
const classify = (over: Parameters<typeof jobFacts>[0]) =>
  classifyFacts(jobFacts(over), { policy: DEFAULT_POLICY, pool: POOL, evidence }).kind;
const foreign = { labels: ['self-hosted'] };

it.each([
  ['its label asks for us', {}, 'served'],
  ['its label is refused', { labels: ['architect/cpu=256'] }, 'refused'],
  ['it is somebody else’s', foreign, 'not-ours'],
  [
    'GitHub gave it our runner',
    { ...foreign, status: 'in_progress', runnerName: 'architect-vm-1' },
    'served',
  ],
  [
    'it has ended on our runner',
    { ...foreign, status: 'completed', runnerName: 'architect-vm-1' },
    'served',
  ],
  [
    'another fleet’s runner has it',
    { ...foreign, status: 'in_progress', runnerName: 'architect-vm-2' },
    'not-ours',
  ],
  [
    'another runner has it',
    { ...foreign, status: 'in_progress', runnerName: 'build-7' },
    'not-ours',
  ],
] as const)('%s', (_, over, kind) => {
  expect(classify(over)).toBe(kind);
});
