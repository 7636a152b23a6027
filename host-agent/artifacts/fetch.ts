/**
 * Fetches an artifact from the control plane, file by file, and puts it into the store.
 *
 *   GET {url}/artifacts/sha256-<hex>/artifact.json    then each file that it lists
 *     200, content-type application/zstd, no content-encoding; hashes are of the plain bytes
 *
 * artifact.json must have the hash that was asked for; each file must have the size and hash that
 * artifact.json gives. A broken transfer is tried again, a few times, without fetching the files
 * that are already whole. Wrong bytes are refused at once: the same source would send them again.
 * On failure nothing of it stays in the store.
 */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Dispatcher } from 'undici';
import { artifactFolder } from '../protocol/artifact.ts';
import { ArchitectError } from '../protocol/errors.ts';
import type { Digest } from '../protocol/ids.ts';
import { ArtifactDiskFullError } from './artifact-errors.ts';
import {
  ARTIFACT_DESCRIPTION,
  createStagingFolder,
  parseArtifact,
  settleArtifact,
} from './artifact-store.ts';
import { downloadBytes, downloadFile } from './download.ts';

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
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Resolves when the artifact is complete in the store. Throws ArtifactFetchError (try later),
 * ArtifactDamagedError (the source's bytes are wrong) or ArtifactDiskFullError.
 */
export async function fetchArtifact(request: FetchRequest): Promise<void> {
  const { storeDir, digest } = request;
  const signal = AbortSignal.any([request.signal, AbortSignal.timeout(WHOLE_FETCH_LIMIT_MS)]);
  let stagingDir: string | undefined;
  try {
    stagingDir = await createStagingFolder(storeDir);
    await fillStaging({ ...request, signal }, stagingDir);
    await settleArtifact({ storeDir, stagingDir, digest });
  } catch (error) {
    if (stagingDir !== undefined) await rm(stagingDir, { recursive: true, force: true });
    throw explain(error, request);
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
  const full = error instanceof Error && 'code' in error && error.code === 'ENOSPC';
  if (!full) return error;
  return new ArtifactDiskFullError(
    `There is no room for artifact ${digest} in ${storeDir}. Free space there; the agent tries again.`,
    { cause: error, context: { digest } },
  );
}
