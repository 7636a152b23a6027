/**
 * The guest's Debian packages as one tar file, made by mmdebstrap. It depends on the package list
 * and the mirror only, so it is kept: a changed guest file needs no download.
 */
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execa } from 'execa';
import { ArchitectError } from '../host-agent/protocol/errors.ts';
import { type DebianMirror, readDebianMirror } from './apt-mirror.ts';
import { formatGuestSources } from './debian-sources.ts';
import { parseOsRelease } from './host-release.ts';
import { GUEST_SUITE, PACKAGES, type Profile, SOURCE_DATE_EPOCH } from './profiles.ts';

const BOOTSTRAP_TIMEOUT_MS = 30 * 60_000;

export class BaseError extends ArchitectError {
  readonly code = 'GUEST_BASE';
  readonly retry = 'later';
}

/** What apt needs to know to reach a mirror as this machine does. */
const FORWARDED_APT_OPTIONS = [
  'Acquire::http::Proxy',
  'Acquire::https::Proxy',
  'Acquire::Check-Valid-Until',
  'Acquire::Check-Date',
  'Acquire::https::CaInfo',
] as const;

/** Files that no job reads: about a fifth of a small root file system. */
const LEFT_OUT_PATHS = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/info/*'] as const;

/**
 * Ensures that `tarPath` holds the packages of `profile`. Needs root and the network when it does
 * not. On failure nothing is left at `tarPath`.
 */
export async function ensureDebianBase(options: {
  readonly profile: Profile;
  readonly tarPath: string;
  readonly progress: (what: string) => void;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { profile, tarPath, progress, signal } = options;
  if (await exists(tarPath)) return;
  await mkdir(dirname(tarPath), { recursive: true, mode: 0o700 });
  progress(`downloading and unpacking the guest's Debian packages (${GUEST_SUITE})`);
  const mirror = await readMirror();
  const partial = `${tarPath}.partial`;
  const target = [GUEST_SUITE, partial, ...(mirror === undefined ? [] : ['-'])];
  try {
    await execa('mmdebstrap', [...(await mmdebstrapOptions(profile)), ...target], {
      env: { SOURCE_DATE_EPOCH: String(SOURCE_DATE_EPOCH), LC_ALL: 'C.UTF-8' },
      input: formatGuestSources(mirror),
      cancelSignal: signal,
      timeout: BOOTSTRAP_TIMEOUT_MS,
      stdout: 'pipe',
      stderr: ['pipe', 'inherit'],
    });
    await rename(partial, tarPath);
  } catch (cause) {
    throw new BaseError(
      `mmdebstrap could not build the guest's packages (its output is above). Check that this machine reaches its Debian mirror, then run the same command again.`,
      { cause, context: { profile } },
    );
  } finally {
    await rm(partial, { force: true });
  }
}

/** Only Debian's own apt names a Debian mirror. */
async function readMirror(): Promise<DebianMirror | undefined> {
  const { id, codename } = parseOsRelease(await readFile('/etc/os-release', 'utf8'));
  return id === 'debian' ? readDebianMirror(codename) : undefined;
}

async function mmdebstrapOptions(profile: Profile): Promise<string[]> {
  return [
    '--mode=root',
    '--variant=minbase',
    '--format=tar',
    '--architectures=amd64',
    `--include=${PACKAGES[profile].join(',')}`,
    ...LEFT_OUT_PATHS.map((path) => `--dpkgopt=path-exclude=${path}`),
    '--dpkgopt=path-include=/usr/share/doc/*/copyright',
    ...(await forwardedAptOptions()).map((option) => `--aptopt=${option}`),
  ];
}

async function forwardedAptOptions(): Promise<string[]> {
  const { stdout } = await execa('apt-config', ['dump'], { timeout: 10_000 });
  return stdout
    .split('\n')
    .filter((line) => FORWARDED_APT_OPTIONS.some((name) => line.startsWith(`${name} `)))
    .map((line) => line.replace(/;$/, ''));
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
