import { expect, test } from 'vitest';
import { chooseCgroupVersion, unifiedMountPoints } from './parse-cgroup.ts';

const HYBRID = `tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
`;
const UNIFIED = 'cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime 0 0\n';

test('a hybrid machine whose unified tree lacks controllers uses v1', () => {
  expect(unifiedMountPoints(HYBRID)).toEqual(['/sys/fs/cgroup/unified']);
  const controllers = new Map([['/sys/fs/cgroup/unified', 'hugetlb\n']]);
  expect(chooseCgroupVersion(HYBRID, controllers)).toBe('v1');
});

test('a unified machine uses v2', () => {
  const controllers = new Map([['/sys/fs/cgroup', 'cpuset cpu io memory pids\n']]);
  expect(chooseCgroupVersion(UNIFIED, controllers)).toBe('v2');
});

test('a machine without both controllers has none', () => {
  expect(chooseCgroupVersion(UNIFIED, new Map([['/sys/fs/cgroup', 'cpu']]))).toBe('none');
  expect(chooseCgroupVersion('', new Map())).toBe('none');
});
