import { expect, test } from 'vitest';
import type { HostFacts, PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import { hostFacts, POOL } from '../../test/fixtures/protocol.ts';
import { admit } from './admission.ts';

const facts = hostFacts();

test('a host that fits is admitted with the pool', () => {
  expect(admit(facts, POOL)).toEqual({ kind: 'admitted', pool: POOL });
});

test.each<[string, Partial<HostFacts>, Partial<PoolSpec>, RegExp]>([
  ['another architecture', { arch: 'arm64' }, {}, /is for x64 hosts and this one is arm64\.$/],
  ['another accelerator', { accelerator: 'kvm' }, {}, /under tcg and this host offers kvm/],
  ['another vendor', {}, { cpuVendor: 'AuthenticAMD' }, /by AuthenticAMD .* by GenuineIntel\.$/],
  ['a model it lacks', {}, { cpuModel: 'EPYC' }, /cannot offer the whole CPU model EPYC/],
  ['no cgroups', { cgroup: 'none' }, {}, /has no cgroups/],
  ['too small', { capacity: { vcpus: 0, memoryMib: 1, diskGib: 1 } }, {}, /too small for any VM/],
])('%s is turned away with a sentence', (_, factsChange, poolChange, why) => {
  const admission = admit({ ...facts, ...factsChange }, { ...POOL, ...poolChange });
  expect(admission).toMatchObject({ kind: 'turned-away', why: expect.stringMatching(why) });
});

test('every reason is named', () => {
  const admission = admit({ ...facts, arch: 'arm64', cgroup: 'none' }, POOL);
  expect(admission).toMatchObject({ why: expect.stringMatching(/arm64\..*cgroups/s) });
});
