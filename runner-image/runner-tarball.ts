/** Gets the official runner's tarball and lets only the pinned bytes through. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { ArchitectError } from '../host-agent/protocol/errors.ts';
import type { RunnerRelease } from './runner-release.ts';

const DOWNLOAD_TIMEOUT_MS = 15 * 60_000;
const UNPACK_TIMEOUT_MS = 5 * 60_000;
/** Twice what releases weigh. */
const MAX_TARBALL_BYTES = 512 * 1024 * 1024;

export class RunnerTarballError extends ArchitectError {
  readonly code = 'RUNNER_TARBALL';
  readonly retry = 'later';
}

/**
 * Ensures that `path` holds the release's tarball; downloads it when it is not there. Throws
 * RunnerTarballError, with nothing left at `path`, when the bytes are not the pinned ones.
 */
export async function ensureRunnerTarball(request: {
  readonly release: RunnerRelease;
  readonly path: string;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { release, path, signal } = request;
  if (await exists(path)) return await checkRunnerTarball(path, release);
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.partial`;
  try {
    await download(release.url, partial, signal);
    await checkRunnerTarball(partial, release);
    await rename(partial, path);
  } finally {
    await rm(partial, { force: true });
  }
}

/** Throws RunnerTarballError unless the file's SHA-256 is the pinned one. */
export async function checkRunnerTarball(path: string, release: RunnerRelease): Promise<void> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  const actual = hash.digest('hex');
  if (actual === release.sha256) return;
  throw new RunnerTarballError(
    `${path} is not actions/runner ${release.version}: its SHA-256 is ${actual}, ${release.sha256} is right. Remove the file, or give the right one with --runner-tarball.`,
  );
}

/** Unpacks a checked tarball into the new folder `into`. */
export async function unpackRunner(path: string, into: string, signal: AbortSignal): Promise<void> {
  await mkdir(into, { recursive: true });
  await execa(
    'tar',
    ['--extract', '--gzip', '--no-same-owner', '--file', path, '--directory', into],
    {
      cancelSignal: signal,
      timeout: UNPACK_TIMEOUT_MS,
    },
  );
}

async function download(url: string, path: string, signal: AbortSignal): Promise<void> {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS)]);
  try {
    const response = await fetch(url, { signal: limited });
    if (!response.ok || response.body === null) throw new Error(`HTTP ${response.status}`);
    await pipeline(
      Readable.fromWeb(response.body),
      atMost(MAX_TARBALL_BYTES),
      createWriteStream(path),
    );
  } catch (cause) {
    signal.throwIfAborted();
    throw new RunnerTarballError(
      `Cannot download the runner from ${url}. Check the connection and try again, or give the file with --runner-tarball.`,
      { cause },
    );
  }
}

function atMost(limitBytes: number): Transform {
  let seen = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      seen += chunk.length;
      done(seen > limitBytes ? new Error(`more than ${limitBytes} bytes`) : null, chunk);
    },
  });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
