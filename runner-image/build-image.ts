/**
 * Builds a guest image and publishes it into the artifact store.
 *
 *   packages (tar, kept) → unpacked → customised → ext4, kernel, initrd → artifact → index
 *
 * Everything happens in one staging folder, which is removed whatever the outcome.
 */
import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import {
  createStagingFolder,
  hasArtifact,
  publishArtifact,
} from '../host-agent/artifacts/artifact-store.ts';
import type { Digest } from '../host-agent/protocol/ids.ts';
import { ensureDebianBase } from './debian-base.ts';
import { makeFileSystem } from './filesystem.ts';
import { customiseGuest, guestKernelVersion } from './guest-customisation.ts';
import { hashInputs, hashPackages, readIndex, writeIndex } from './image-inputs.ts';
import { copyAsJavaScript } from './plain-javascript.ts';
import { KERNEL_ARGUMENTS, type Profile } from './profiles.ts';
import { RUNNER_RELEASE } from './runner-release.ts';
import { checkRunnerTarball, ensureRunnerTarball, unpackRunner } from './runner-tarball.ts';

const UNPACK_TIMEOUT_MS = 10 * 60_000;
// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own syntax
const PACKAGE_FORMAT = '${Package}=${Version}\\n';
const PROJECT = join(import.meta.dirname, '..');
const STAND_IN = join(import.meta.dirname, 'stand-in');
const GUEST = join(import.meta.dirname, 'guest');
const NODE_BINARY = join(PROJECT, 'node_modules', 'node', 'bin', 'node');
const LOCK_FILE = join(PROJECT, 'package-lock.json');

export interface ImageRequest {
  readonly homeDir: string;
  readonly profile: Profile;
  /** The official runner from this file instead of its download (`full` only). */
  readonly runnerTarball: string | undefined;
  /** Take packages from the mirror anew even if an image or packages are here. */
  readonly fresh: boolean;
  /** Told what begins, before anything that takes longer than a second. */
  readonly progress: (what: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Gives the digest of this checkout's image, after building it when the store has none. Building
 * needs root and the mirror. On failure the store is as before.
 */
export async function ensureImage(request: ImageRequest): Promise<Digest> {
  const { homeDir, profile } = request;
  const storeDir = join(homeDir, 'artifacts');
  const indexPath = join(storeDir, 'index', `${profile}-${await inputsOf(profile)}.json`);
  const known = await readIndex(indexPath);
  if (!request.fresh && known !== undefined && (await hasArtifact(storeDir, known.image))) {
    return known.image;
  }
  const tarPath = join(homeDir, 'cache', `packages-${profile}-${hashPackages(profile)}.tar`);
  if (request.fresh) await rm(tarPath, { force: true });
  await ensureDebianBase({ ...request, tarPath });
  return await buildFrom(request, { storeDir, indexPath, tarPath });
}

async function inputsOf(profile: Profile): Promise<string> {
  const runner = profile === 'full' ? [RUNNER_RELEASE.sha256] : [];
  return await hashInputs({
    profile,
    folders: profile === 'small' ? [GUEST, STAND_IN] : [GUEST],
    facts: [...runner, await pinnedNodeVersion(), ...(await buildCode())],
  });
}

/** The build's own steps: with others the same inputs would give another image. */
async function buildCode(): Promise<string[]> {
  const names = ['guest-customisation.ts', 'filesystem.ts', 'plain-javascript.ts'];
  return await Promise.all(names.map((name) => readFile(join(import.meta.dirname, name), 'utf8')));
}

async function pinnedNodeVersion(): Promise<string> {
  const lock = await readFile(LOCK_FILE, 'utf8');
  return /"node_modules\/node":\s*\{\s*"version":\s*"([^"]+)"/.exec(lock)?.[1] ?? '';
}

interface BuildPaths {
  readonly storeDir: string;
  readonly indexPath: string;
  readonly tarPath: string;
}

async function buildFrom(request: ImageRequest, paths: BuildPaths): Promise<Digest> {
  const { homeDir, profile, progress, signal } = request;
  await mkdir(join(homeDir, 'cache'), { recursive: true, mode: 0o700 });
  const workDir = await mkdtemp(join(homeDir, 'cache', 'build-'));
  const stagingDir = await createStagingFolder(paths.storeDir);
  try {
    const root = join(workDir, 'root');
    progress('unpacking the packages and adding the guest files');
    await unpack(paths.tarPath, root, signal);
    const packages = await listPackages(root);
    const runnerDir = await runnerFolder(request, workDir);
    await customiseGuest({ root, profile, runnerDir, nodeBinary: NODE_BINARY, signal });
    const guestKernel = await guestKernelVersion(root);
    progress('writing the file system and hashing it');
    await stageFiles({ root, stagingDir, guestKernel, signal });
    const image = await publishArtifact({
      storeDir: paths.storeDir,
      stagingDir,
      description: {
        kind: 'image',
        profile,
        arch: 'x64',
        guestKernel,
        kernelArguments: KERNEL_ARGUMENTS,
      },
      signal,
    });
    const builtAt = new Date().toISOString();
    await writeIndex(paths.indexPath, { image, guestKernel, builtAt, packages });
    return image;
  } finally {
    await rm(workDir, { recursive: true, force: true });
    await rm(stagingDir, { recursive: true, force: true });
  }
}

async function unpack(tarPath: string, root: string, signal: AbortSignal): Promise<void> {
  await mkdir(root, { mode: 0o755 });
  await execa(
    'tar',
    [
      ...['--extract', '--numeric-owner', '--same-owner', '--preserve-permissions'],
      ...['--xattrs', '--xattrs-include=*', '--file', tarPath, '--directory', root],
    ],
    { cancelSignal: signal, timeout: UNPACK_TIMEOUT_MS },
  );
}

async function listPackages(root: string): Promise<string[]> {
  const { stdout } = await execa(
    'dpkg-query',
    [`--admindir=${root}/var/lib/dpkg`, '--show', `--showformat=${PACKAGE_FORMAT}`],
    { timeout: UNPACK_TIMEOUT_MS },
  );
  return stdout.split('\n').sort();
}

async function runnerFolder(request: ImageRequest, workDir: string): Promise<string> {
  const into = join(workDir, 'runner');
  if (request.profile === 'small') {
    await copyAsJavaScript(STAND_IN, into);
    return into;
  }
  const { homeDir, runnerTarball, signal, progress } = request;
  const path =
    runnerTarball ?? join(homeDir, 'cache', `actions-runner-${RUNNER_RELEASE.version}.tar.gz`);
  progress(`getting the official runner ${RUNNER_RELEASE.version}`);
  if (runnerTarball === undefined) {
    await ensureRunnerTarball({ release: RUNNER_RELEASE, path, signal });
  } else {
    await checkRunnerTarball(path, RUNNER_RELEASE);
  }
  await unpackRunner(path, into, signal);
  return into;
}

async function stageFiles(options: {
  readonly root: string;
  readonly stagingDir: string;
  readonly guestKernel: string;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { root, stagingDir, guestKernel, signal } = options;
  await copyFile(join(root, 'boot', `vmlinuz-${guestKernel}`), join(stagingDir, 'vmlinuz'));
  await copyFile(join(root, 'boot', `initrd.img-${guestKernel}`), join(stagingDir, 'initrd'));
  await makeFileSystem({ root, imagePath: join(stagingDir, 'disk.raw'), signal });
}
