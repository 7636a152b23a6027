/**
 * The control groups of a fleet's VMs: `architect/<fleet>/<vmId>` under each hierarchy, v1 (one per
 * controller) and v2. A group can be removed only once its last process is gone.
 */
import { existsSync, readdirSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const ROOT = '/sys/fs/cgroup';
const ATTEMPTS = 50;
const ATTEMPT_INTERVAL_MS = 20;

/** Folders of the fleet's groups, deepest first. */
export function listCgroups(fleet: string): readonly string[] {
  const hierarchies = [ROOT, ...foldersIn(ROOT)];
  return [...new Set(hierarchies)]
    .map((dir) => join(dir, 'architect', fleet))
    .filter((dir) => existsSync(dir))
    .flatMap((dir) => [...deepestFirst(dir), dir]);
}

/** Removes the VMs' groups that `wanted` picks; answers those that could not be removed. */
export async function removeCgroups(
  fleet: string,
  wanted: (vmId: string) => boolean,
): Promise<readonly string[]> {
  const picked = listCgroups(fleet).filter((dir) => wanted(vmIdOf(fleet, dir)));
  return removeAll(picked);
}

/** Removes every group of the fleet, the fleet's own, and what they were in once it is empty. */
export async function removeFleetCgroups(fleet: string): Promise<readonly string[]> {
  const dirs = listCgroups(fleet);
  const left = await removeAll(dirs);
  // Refused by the kernel while another fleet has a group there.
  for (const dir of dirs.filter((one) => basename(one) === fleet))
    await rmdir(dirname(dir)).catch(() => undefined);
  return left;
}

function vmIdOf(fleet: string, dir: string): string {
  return dir.split(`/architect/${fleet}/`)[1]?.split('/')[0] ?? '';
}

async function removeAll(dirs: readonly string[]): Promise<readonly string[]> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    for (const dir of dirs) await rmdir(dir).catch(() => undefined);
    if (!dirs.some((dir) => existsSync(dir))) return [];
    await sleep(ATTEMPT_INTERVAL_MS);
  }
  return dirs.filter((dir) => existsSync(dir)).map((dir) => `cgroup ${dir}`);
}

function deepestFirst(dir: string): readonly string[] {
  return foldersIn(dir).flatMap((child) => [...deepestFirst(child), child]);
}

function foldersIn(dir: string): readonly string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(dir, entry.name));
  } catch {
    return [];
  }
}
