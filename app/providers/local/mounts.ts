/** Mounts below a folder: a host that died leaves them. */
import { readFileSync } from 'node:fs';
import { runCommand } from './commands.ts';

export function listMountsBelow(dir: string): readonly string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${dir}/`));
}

/** Innermost first. What cannot be unmounted stays, for `listMountsBelow` to tell. */
export async function unmountBelow(dir: string): Promise<void> {
  for (const path of [...listMountsBelow(dir)].reverse()) {
    await runCommand('umount', ['-l', path], { mayFail: true });
  }
}
