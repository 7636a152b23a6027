/** Whether this machine can become a host. */
import { access, constants, readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { CliError } from '../cli-error.ts';

const TRIED: Readonly<Record<string, readonly string[]>> = {
  debian: ['12', '13'],
  ubuntu: ['24.04'],
};
const NEEDED = ['qemu-system-x86_64', 'qemu-img', 'ip', 'nft', 'setpriv'];

/** Throws CliError with the one thing that is missing first and what to do about it. */
export async function checkMachine(environment: NodeJS.ProcessEnv): Promise<void> {
  checkRoot();
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  if (!isSupported(release)) {
    throw new CliError('Hosts run Debian 12, Debian 13 or Ubuntu 24.04; this machine does not.');
  }
  const missing: string[] = [];
  for (const program of NEEDED) {
    if (!(await isInstalled(program, environment))) missing.push(program);
  }
  if (missing.length === 0) return;
  throw new CliError(`Not installed: ${missing.join(', ')}. Run first: npm run setup`);
}

export function checkRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new CliError(
    'Only root can do this: it makes network namespaces, taps and a service. Use sudo.',
  );
}

/** Reads os-release(5). */
export function isSupported(osRelease: string): boolean {
  const read = (name: string): string | undefined =>
    new RegExp(`^${name}="?([^"\\n]*)"?$`, 'm').exec(osRelease)?.[1];
  return (TRIED[read('ID') ?? ''] ?? []).includes(read('VERSION_ID') ?? '');
}

async function isInstalled(program: string, environment: NodeJS.ProcessEnv): Promise<boolean> {
  const folders = [...(environment.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const found = folders.map((folder) => access(join(folder, program), constants.X_OK));
  return (await Promise.allSettled(found)).some(({ status }) => status === 'fulfilled');
}
