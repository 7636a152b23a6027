import { expect, test } from 'vitest';
import { HostFacts, PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import { admit } from './admission.ts';

const pool = PoolSpec.parse({
  id: 'small-x64-tcg-qemu64',
  arch: 'x64',
  accelerator: 'tcg',
  cpuVendor: null,
  cpuModel: 'qemu64',
  machineType: 'pc-q35-8.2',
  image: `sha256:${'a'.repeat(64)}`,
  template: `sha256:${'b'.repeat(64)}`,
});

const facts = HostFacts.parse({
  arch: 'x64',
  accelerator: 'tcg',
  acceleratorWhy: '/dev/kvm is not there',
  cpu: { vendor: 'GenuineIntel', modelName: 'Xeon', features: [] },
  cpuModels: ['qemu64', 'Nehalem'],
  capacity: { vcpus: 4, memoryMib: 8192, diskGib: 40 },
  kernel: '6.12.0',
  qemuVersion: '10.0.2',
  cgroup: 'v2',
});

test('a host that fits is admitted with the pool', () => {
  expect(admit(facts, pool)).toEqual({ kind: 'admitted', pool });
});

test.each<[string, Partial<HostFacts>, Partial<PoolSpec>, RegExp]>([
  ['another architecture', { arch: 'arm64' }, {}, /is for x64 hosts and this one is arm64\.$/],
  ['another accelerator', { accelerator: 'kvm' }, {}, /under tcg and this host offers kvm/],
  ['another vendor', {}, { cpuVendor: 'AuthenticAMD' }, /by AuthenticAMD .* by GenuineIntel\.$/],
  ['a model it lacks', {}, { cpuModel: 'EPYC' }, /cannot offer the whole CPU model EPYC/],
  ['no cgroups', { cgroup: 'none' }, {}, /has no cgroups/],
  ['too small', { capacity: { vcpus: 0, memoryMib: 1, diskGib: 1 } }, {}, /too small for any VM/],
])('%s is turned away with a sentence', (_, factsChange, poolChange, why) => {
  const admission = admit({ ...facts, ...factsChange }, { ...pool, ...poolChange });
  expect(admission).toMatchObject({ kind: 'turned-away', why: expect.stringMatching(why) });
});

test('every reason is named', () => {
  const admission = admit({ ...facts, arch: 'arm64', cgroup: 'none' }, pool);
  expect(admission).toMatchObject({ why: expect.stringMatching(/arm64\..*cgroups/s) });
});
