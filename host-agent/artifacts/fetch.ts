/**
 * Fetches an artifact, file by file: from the chunk store where it is there, else from the control plane.
 *
 *   GET {url}/artifacts/sha256-<hex>/artifact.json    then each file that it lists
 *     200, content-type application/zstd, no content-encoding; hashes are of the plain bytes
 *
 * artifact.json must have the hash that was asked for; each file must have the size and hash that
 * artifact.json gives. A broken transfer is tried again, a few times, without fetching the files
 * that are already whole. Wrong bytes are refused at once: the same source would send them again.
 * What the chunk store does not give, or gives wrong, comes from the control plane. On failure nothing
 * of it stays on this host.
 */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Dispatcher } from 'undici';
import { artifactFolder } from '../protocol/artifact.ts';
import { ArchitectError } from '../protocol/errors.ts';
import type { Digest } from '../protocol/ids.ts';
import { ArtifactDiskFullError } from './artifact-errors.ts';
import type { ArtifactShelf } from './artifact-shelf.ts';
import {
  ARTIFACT_DESCRIPTION,
  createStagingFolder,
  parseArtifact,
  settleArtifact,
} from './artifact-store.ts';
import { downloadBytes, downloadFile, receiveFile } from './download.ts';

const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
const WHOLE_FETCH_LIMIT_MS = 60 * 60_000;

export interface ArtifactSource {
  /** The control plane's agent endpoint, without a trailing slash. */
  readonly url: string;
  /** Holds the client certificate and trusts the fleet's CA alone. */
  readonly dispatcher: Dispatcher;
}

export interface FetchRequest {
  readonly storeDir: string;
  readonly digest: Digest;
  readonly source: ArtifactSource;
  /** Undefined: there is no chunk store. */
  readonly shelf?: ArtifactShelf | undefined;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export type FetchedFrom = 'chunk store' | 'control plane';

/**
 * Resolves when the artifact is complete on this host. Throws ArtifactFetchError (try later),
 * ArtifactDamagedError (the source's bytes are wrong) or ArtifactDiskFullError.
 */
export async function fetchArtifact(request: FetchRequest): Promise<FetchedFrom> {
  const { storeDir, digest } = request;
  const signal = AbortSignal.any([request.signal, AbortSignal.timeout(WHOLE_FETCH_LIMIT_MS)]);
  let stagingDir: string | undefined;
  try {
    stagingDir = await createStagingFolder(storeDir);
    const bounded = { ...request, signal };
    const isFilled = await fillFromShelf(bounded, stagingDir);
    if (!isFilled) await fillStaging(bounded, stagingDir);
    await settleArtifact({ storeDir, stagingDir, digest });
    return isFilled ? 'chunk store' : 'control plane';
  } catch (error) {
    if (stagingDir !== undefined) await rm(stagingDir, { recursive: true, force: true });
    throw explain(error, request);
  }
}

/** False: it is not there as it should be. What was written of it is written again. */
async function fillFromShelf(request: FetchRequest, stagingDir: string): Promise<boolean> {
  const { digest, shelf, logger, signal } = request;
  try {
    const description = await shelf?.describe(digest, signal);
    if (shelf === undefined || description === undefined) return false;
    await writeFile(join(stagingDir, ARTIFACT_DESCRIPTION), description);
    for (const file of parseArtifact(description, digest).files) {
      const wanted = { digest, path: join(stagingDir, file.name), file, from: 'the chunk store' };
      await receiveFile(wanted, (sink) =>
        pipeline(shelf.read(digest, file, signal), sink, { signal }),
      );
    }
    return true;
  } catch (error) {
    signal.throwIfAborted();
    if (isDiskFull(error)) throw error;
    logger.warn({ digest, err: error }, 'the chunk store does not give the artifact');
    return false;
  }
}

async function fillStaging(request: FetchRequest, stagingDir: string): Promise<void> {
  const { digest, logger, source, signal } = request;
  const base = `${source.url}/artifacts/${artifactFolder(digest)}`;
  const from = { dispatcher: source.dispatcher, signal };
  const description = await attempt(request, () =>
    downloadBytes({ ...from, url: `${base}/${ARTIFACT_DESCRIPTION}`, digest }),
  );
  await writeFile(join(stagingDir, ARTIFACT_DESCRIPTION), description);
  for (const file of parseArtifact(description, digest).files) {
    logger.info({ digest, file: file.name, sizeBytes: file.sizeBytes }, 'fetching artifact file');
    const target = { url: `${base}/${file.name}`, path: join(stagingDir, file.name), file };
    await attempt(request, () => downloadFile({ ...from, ...target, digest }));
  }
}

/** Calls until it succeeds, fails for good, or the attempts are used up. */
async function attempt<T>(request: FetchRequest, call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call();
    } catch (error) {
      const again = error instanceof ArchitectError && error.retry === 'later';
      if (!again || tries === ATTEMPTS) throw error;
      request.logger.warn({ digest: request.digest, tries, err: error }, 'artifact transfer broke');
      await sleep(FIRST_PAUSE_MS * 2 ** (tries - 1), undefined, { signal: request.signal });
    }
  }
}

function explain(error: unknown, { storeDir, digest }: FetchRequest): unknown {
  if (!isDiskFull(error)) return error;
  return new ArtifactDiskFullError(
    `There is no room for artifact ${digest} in ${storeDir}. Free space there; the agent tries again.`,
    { cause: error, context: { digest } },
  );
}

function isDiskFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOSPC';
}
