/**
 * A name for a program while `tc` looks for it. The BPF file system is the process's own, mounted
 * nowhere (fsopen(2), fsmount(2)), reached by others through /proc: nothing is left behind, and
 * several agents on one machine do not meet.
 */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { attributes, BPF, bpf, cString, mountDetached } from './kernel.ts';

let folder: string | undefined;

/** Holds while `use` runs. */
export async function withPins<T>(
  programs: readonly number[],
  use: (paths: readonly string[]) => Promise<T>,
): Promise<T> {
  folder ??= `/proc/${process.pid}/fd/${mountDetached('bpf')}`;
  const paths: string[] = [];
  try {
    for (const program of programs) {
      const path = `${folder}/${randomUUID()}`;
      bpf(BPF.pin, attributes([0, cString(path)], [8, program]), 'pin a program');
      paths.push(path);
    }
    return await use(paths);
  } finally {
    for (const path of paths) rmSync(path, { force: true });
  }
}
