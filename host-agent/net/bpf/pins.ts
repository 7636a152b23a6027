/**
 * Names for maps and programs that outlive their process: files in a BPF file system. Minimal
 * systems do not mount one, and `ip netns exec` hides /sys, so Architect mounts its own.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { attributes, BPF, bpf, ENOENT, kernelRefused, tryBpf } from './kernel.ts';

/** BPF_FS_MAGIC of linux/magic.h. */
const BPF_FS_MAGIC = 0xcafe4a11;
const MOUNT_TIMEOUT_MS = 10_000;
export const PIN_ROOT = '/run/architect/bpf';

/** The folder, directly below a BPF file system, which is mounted if there is none. */
export async function ensurePinFolder(folder: string): Promise<void> {
  const root = dirname(folder);
  mkdirSync(root, { recursive: true, mode: 0o700 });
  if (statfsSync(root).type !== BPF_FS_MAGIC) {
    const args = ['-t', 'bpf', '-o', 'mode=0700', 'bpf', root];
    await execa('mount', args, { timeout: MOUNT_TIMEOUT_MS });
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
}

export function pinAt(path: string, fd: number): void {
  bpf(BPF.pin, attributes([0, cString(path)], [8, fd]), `pin ${path}`);
}

/** A new descriptor of what is pinned there; undefined: nothing. */
export function openPin(path: string): number | undefined {
  const fd = tryBpf(BPF.openPin, attributes([0, cString(path)]));
  if (fd === -ENOENT) return undefined;
  if (fd < 0) throw kernelRefused(`open ${path}`, -fd);
  return fd;
}

/** Removes a folder of pins and all in it. What the kernel still uses lives on without a name. */
export function removePins(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
  rmSync(folder, { recursive: true });
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}
