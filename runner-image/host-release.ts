/** Which distribution this machine runs (os-release(5)). */
import { readFileSync } from 'node:fs';

/** `bookworm`, `trixie`, `noble`; empty where the file does not say. */
export function hostCodename(osRelease = readFileSync('/etc/os-release', 'utf8')): string {
  return /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(osRelease)?.[1] ?? '';
}
