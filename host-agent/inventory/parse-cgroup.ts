/** Which cgroup version can limit a VM here: the one that has both the memory and the cpu controller. */
export type CgroupVersion = 'v1' | 'v2' | 'none';

/**
 * `mounts` is /proc/mounts; `unifiedControllers` maps a cgroup2 mount point to its
 * `cgroup.controllers` (Linux, Documentation/admin-guide/cgroup-v2.rst).
 */
export function chooseCgroupVersion(
  mounts: string,
  unifiedControllers: ReadonlyMap<string, string>,
): CgroupVersion {
  for (const controllers of unifiedControllers.values()) {
    if (hasBoth(controllers.trim().split(/\s+/))) return 'v2';
  }
  const v1 = parseMounts(mounts).filter(({ type }) => type === 'cgroup');
  return hasBoth(v1.flatMap(({ options }) => options)) ? 'v1' : 'none';
}

/** Where cgroup2 is mounted, outermost first. */
export function unifiedMountPoints(mounts: string): readonly string[] {
  return parseMounts(mounts)
    .filter(({ type }) => type === 'cgroup2')
    .map(({ path }) => path);
}

function parseMounts(mounts: string) {
  return mounts
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, path = '', type = '', options = ''] = line.split(' ');
      return { path, type, options: options.split(',') };
    });
}

function hasBoth(names: readonly string[]): boolean {
  return names.includes('memory') && names.includes('cpu');
}
