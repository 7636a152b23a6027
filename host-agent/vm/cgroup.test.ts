import { expect, test } from 'vitest';
import { VmId } from '../protocol/ids.ts';
import { cpuLimitsOf, memoryLimitBytes, planCgroup } from './cgroup.ts';

const request = {
  fleet: 'main',
  place: 'vm-1',
  class: { vcpus: 4, memoryMib: 8192, diskGib: 10, arch: 'x64' },
} as const;
const MIB = 1024 * 1024;

test('the memory limit leaves QEMU its own', () => {
  expect(memoryLimitBytes(8192)).toBe(Math.ceil(8192 * 1.05 + 512) * MIB);
});

test('v1 limits CPU, memory and tasks in their hierarchies', () => {
  const plan = planCgroup({ ...request, version: 'v1' });
  const root = '/sys/fs/cgroup';
  expect(plan.writes).toEqual([
    { file: `${root}/cpu/architect/main/vm-1/cpu.cfs_period_us`, value: '100000' },
    { file: `${root}/cpu/architect/main/vm-1/cpu.cfs_quota_us`, value: '500000' },
    {
      file: `${root}/memory/architect/main/vm-1/memory.limit_in_bytes`,
      value: String(memoryLimitBytes(8192)),
    },
    { file: `${root}/pids/architect/main/vm-1/pids.max`, value: '80' },
  ]);
  expect(plan.procsFiles).toHaveLength(3);
});

// Planned only: a machine with v2's cpu, memory and pids controllers runs it.
test('v2 delegates the controllers down to the group, then limits it', () => {
  const plan = planCgroup({ ...request, version: 'v2' });
  const group = '/sys/fs/cgroup/architect/main/vm-1';
  expect(plan.writes).toEqual([
    { file: '/sys/fs/cgroup/cgroup.subtree_control', value: '+cpu +memory +pids' },
    { file: '/sys/fs/cgroup/architect/cgroup.subtree_control', value: '+cpu +memory +pids' },
    { file: '/sys/fs/cgroup/architect/main/cgroup.subtree_control', value: '+cpu +memory +pids' },
    { file: `${group}/cpu.max`, value: '500000 100000' },
    { file: `${group}/memory.max`, value: String(memoryLimitBytes(8192)) },
    { file: `${group}/memory.swap.max`, value: '0' },
    { file: `${group}/pids.max`, value: '80' },
  ]);
  expect(plan.dirs).toEqual(['/sys/fs/cgroup/architect', '/sys/fs/cgroup/architect/main', group]);
  expect(plan.procsFiles).toEqual([`${group}/cgroup.procs`]);
});

test('without controllers nothing is written', () => {
  expect(planCgroup({ ...request, version: 'none' })).toEqual({
    dirs: [],
    writes: [],
    procsFiles: [],
  });
});

test('a share of the CPU is a part of the quota that the plan sets', () => {
  const spec = { ...request, vmId: VmId.parse('vm-1') };
  for (const version of ['v1', 'v2'] as const) {
    const [whole] = cpuLimitsOf(spec, { version, claim: 1 });
    expect(planCgroup({ ...request, version }).writes).toContainEqual(whole);
  }
  const root = '/sys/fs/cgroup';
  expect(cpuLimitsOf(spec, { version: 'v1', claim: 0.1 })).toEqual([
    { file: `${root}/cpu/architect/main/vm-1/cpu.cfs_quota_us`, value: '50000' },
    { file: `${root}/cpu/architect/main/vm-1/cpu.shares`, value: '1024' },
  ]);
  expect(cpuLimitsOf(spec, { version: 'v2', claim: 0.0001 })).toEqual([
    { file: `${root}/architect/main/vm-1/cpu.max`, value: '1000 100000' },
    { file: `${root}/architect/main/vm-1/cpu.weight`, value: '100' },
  ]);
  expect(cpuLimitsOf(spec, { version: 'none', claim: 0.1 })).toEqual([]);
});

test('who comes first has no quota and a hundred times the weight', () => {
  const spec = { ...request, vmId: VmId.parse('vm-1') };
  const values = (version: 'v1' | 'v2') =>
    cpuLimitsOf(spec, { version, claim: 'first' }).map(({ value }) => value);
  expect(values('v1')).toEqual(['-1', '102400']);
  expect(values('v2')).toEqual(['max 100000', '10000']);
});
