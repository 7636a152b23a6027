/** This machine: room on disk, secrets kept, the image prepared and, with the local provider, QEMU. */
import { constants } from 'node:fs';
import { access, mkdir, stat, statfs } from 'node:fs/promises';
import { execa } from 'execa';
import { ArchitectError } from '../../../host-agent/protocol/errors.ts';
import type { Config } from '../../config.ts';
import { readPool, setupCommand } from '../../pool.ts';
import { type Finding, failed, fine, warning } from './finding.ts';

const GIB = 1024 ** 3;
/** An image and a template take about six; below two nothing of use can be written any more. */
const WANTED_FREE_BYTES = 10 * GIB;
const LEAST_FREE_BYTES = 2 * GIB;
const TIMEOUT_MS = 5_000;
const LEAST_QEMU = [8, 2] as const;

export interface MachineGiven {
  readonly config: Pick<
    Config,
    'homeDir' | 'artifactsDir' | 'imageProfile' | 'cpuModel' | 'provider'
  >;
  readonly environment: NodeJS.ProcessEnv;
  readonly kvmDevice: string;
}

export async function checkMachine(given: MachineGiven): Promise<readonly Finding[]> {
  const { config, environment, kvmDevice } = given;
  const here = config.provider === 'local';
  return [
    await checkDisk(config.homeDir),
    checkImage(config),
    ...(here ? [await checkQemu(environment), await checkAccelerator(kvmDevice)] : []),
  ];
}

async function checkDisk(path: string): Promise<Finding> {
  try {
    await mkdir(path, { recursive: true, mode: 0o755 });
    const { bavail, bsize } = await statfs(path);
    return judgeDisk(path, bavail * bsize);
  } catch (error) {
    const why = error instanceof Error ? error.message : 'unknown';
    return failed(
      'disk',
      `${path} cannot be used: ${why}.`,
      'Make that folder, or set home to another.',
    );
  }
}

/** Pure. */
export function judgeDisk(path: string, freeBytes: number): Finding {
  const free = `${(freeBytes / GIB).toFixed(1)} GiB`;
  if (freeBytes >= WANTED_FREE_BYTES) return fine('disk', `${free} are free under ${path}.`);
  const fix = `Make room there, or set home to a larger disk; ${WANTED_FREE_BYTES / GIB} GiB should be free.`;
  if (freeBytes >= LEAST_FREE_BYTES)
    return warning('disk', `Only ${free} are free under ${path}.`, fix);
  return failed('disk', `The disk is full: ${free} are free under ${path}.`, fix);
}

function checkImage(config: MachineGiven['config']): Finding {
  try {
    const { id } = readPool(config);
    return fine(
      'image',
      `The ${config.imageProfile} image and its template are there (pool ${id}).`,
    );
  } catch (error) {
    if (!(error instanceof ArchitectError)) throw error;
    const fix = `Run: ${setupCommand(config)}`;
    const what = `No template of the ${config.imageProfile} image for CPU model ${config.cpuModel} is in ${config.artifactsDir}.`;
    return failed('image', what, fix);
  }
}

async function checkQemu(environment: NodeJS.ProcessEnv): Promise<Finding> {
  const { failed: broken, stdout } = await execa('qemu-system-x86_64', ['--version'], {
    env: { PATH: environment.PATH ?? '' },
    extendEnv: false,
    reject: false,
    timeout: TIMEOUT_MS,
  });
  const fix = 'npm run setup installs one (on Debian 12 from backports).';
  if (broken) return failed('QEMU', 'No qemu-system-x86_64 is installed on this host.', fix);
  return judgeQemu(/version (\d+)\.(\d+)\S*/.exec(stdout), fix);
}

function judgeQemu(version: RegExpExecArray | null, fix: string): Finding {
  const [, major = '0', minor = '0'] = version ?? [];
  const [wantedMajor, wantedMinor] = LEAST_QEMU;
  const enough = Number(major) * 100 + Number(minor) >= wantedMajor * 100 + wantedMinor;
  if (enough) return fine('QEMU', `QEMU ${major}.${minor} is installed.`);
  return failed(
    'QEMU',
    `QEMU ${major}.${minor} is too old: ${LEAST_QEMU.join('.')} is the least.`,
    fix,
  );
}

async function checkAccelerator(device: string): Promise<Finding> {
  const can = (mode: number) =>
    access(device, mode).then(
      () => true,
      () => false,
    );
  if (await can(constants.R_OK | constants.W_OK))
    return fine('accelerator', `${device} can be used.`);
  const there = await can(constants.F_OK);
  return warning(
    'accelerator',
    there
      ? `${device} cannot be opened: VMs run under software emulation, many times slower.`
      : `There is no ${device}: VMs run under software emulation, many times slower.`,
    there
      ? `Run architect as root, or let its user open ${device} (group kvm).`
      : 'Take a machine with hardware virtualisation, or switch it on (firmware; nested virtualisation in a cloud).',
  );
}

/** A secret that others may read is one no longer. */
export async function checkSecretFile(path: string): Promise<Finding> {
  const { mode } = await stat(path);
  if ((mode & 0o077) === 0) return fine('secrets', `${path} is its owner's alone.`);
  return warning('secrets', `Others may read ${path}.`, `chmod 600 ${path}`);
}
