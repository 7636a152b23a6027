/**
 * A folder of complete artifacts (protocol/artifact.ts), shared by any number of processes.
 *
 *   <store>/.tmp-<uuid>/             being built or fetched; its maker removes it when it fails
 *   <store>/sha256-<hex>/            complete and verified; never changed
 *     artifact.json                  its SHA-256 is the artifact's digest
 *     <file> …                       as artifact.json lists them
 *
 * Invariants: a folder under its final name was verified in full before it got that name, and the
 * rename is the only way to get one. Two makers of the same artifact race harmlessly: the second
 * finds the name taken and drops its own copy, unless what stands there is damaged. Opening checks sizes and the description's hash
 * again, not the files' hashes: they were checked once, and a start must not read gigabytes.
 */
import { randomUUID } from 'node:crypto';
import {
  chmod,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import {
  Artifact,
  artifactFolder,
  type ImageArtifact,
  type TemplateArtifact,
} from '../protocol/artifact.ts';
import { Digest } from '../protocol/ids.ts';
import { ArtifactDamagedError, ArtifactMissingError } from './artifact-errors.ts';
import { hashFile, sha256Hex } from './hash-file.ts';

/** Longer than any build or fetch takes. */
const ABANDONED_AFTER_MS = 24 * 60 * 60_000;

export const ARTIFACT_DESCRIPTION = 'artifact.json';

/** An artifact's description before its files have been listed and hashed. */
export type ArtifactDescription = Omit<ImageArtifact, 'files'> | Omit<TemplateArtifact, 'files'>;

export interface OpenArtifact<A extends Artifact = Artifact> {
  readonly digest: Digest;
  readonly dir: string;
  readonly artifact: A;
}

export function digestOf(descriptionBytes: Uint8Array): Digest {
  return Digest.parse(`sha256:${sha256Hex(descriptionBytes)}`);
}

/** Makes an empty folder inside the store, to be filled and then published or removed. */
export async function createStagingFolder(storeDir: string): Promise<string> {
  const dir = join(storeDir, `.tmp-${randomUUID()}`);
  await mkdir(dir, { recursive: true, mode: 0o755 });
  return dir;
}

/**
 * Turns a staging folder, which holds the artifact's files and nothing else, into an artifact and
 * gives its digest. The same files and description give the same digest. The folder is gone
 * afterwards; on failure it stays, for its maker to remove.
 */
export async function publishArtifact(request: {
  readonly storeDir: string;
  readonly stagingDir: string;
  readonly description: ArtifactDescription;
  readonly signal?: AbortSignal;
}): Promise<Digest> {
  const { storeDir, stagingDir, description, signal } = request;
  const names = (await readdir(stagingDir)).filter((name) => name !== ARTIFACT_DESCRIPTION).sort();
  const files = [];
  for (const name of names) {
    files.push({ name, ...(await hashFile(join(stagingDir, name), signal)) });
  }
  const bytes = Buffer.from(
    `${JSON.stringify(Artifact.parse({ ...description, files }), null, 1)}\n`,
  );
  await writeFile(join(stagingDir, ARTIFACT_DESCRIPTION), bytes);
  const digest = digestOf(bytes);
  await settleArtifact({ storeDir, stagingDir, digest });
  return digest;
}

/**
 * Gives a complete, verified staging folder its final name, durably. When another maker was first,
 * the folder is dropped, unless the other one is damaged: then it is replaced.
 */
export async function settleArtifact(request: {
  readonly storeDir: string;
  readonly stagingDir: string;
  readonly digest: Digest;
}): Promise<void> {
  const { storeDir, stagingDir, digest } = request;
  for (const name of await readdir(stagingDir)) {
    await chmod(join(stagingDir, name), 0o444);
    await syncPath(join(stagingDir, name));
  }
  await chmod(stagingDir, 0o755);
  await syncPath(stagingDir);
  try {
    await rename(stagingDir, join(storeDir, artifactFolder(digest)));
  } catch (error) {
    if (!isTaken(error)) throw error;
    if (await hasArtifact(storeDir, digest)) await rm(stagingDir, { recursive: true, force: true });
    else await replaceDamaged(storeDir, stagingDir, digest);
  }
  await syncPath(storeDir);
}

/** Throws ArtifactMissingError when the store has no such artifact, ArtifactDamagedError when it is not whole. */
export async function openArtifact(storeDir: string, digest: Digest): Promise<OpenArtifact> {
  const dir = join(storeDir, artifactFolder(digest));
  const bytes = await readDescription(dir, digest);
  if (digestOf(bytes) !== digest) throw damaged(dir, digest, 'its description has another hash');
  const artifact = parseArtifact(bytes, digest);
  for (const { name, sizeBytes } of artifact.files) {
    const actual = await sizeOf(join(dir, name));
    if (actual !== sizeBytes) {
      throw damaged(dir, digest, `${name} has ${actual ?? 'no'} bytes, ${sizeBytes} are right`);
    }
  }
  return { digest, dir, artifact };
}

/** True when the artifact is here and opens. */
export async function hasArtifact(storeDir: string, digest: Digest): Promise<boolean> {
  try {
    await openArtifact(storeDir, digest);
    return true;
  } catch (error) {
    if (error instanceof ArtifactMissingError || error instanceof ArtifactDamagedError)
      return false;
    throw error;
  }
}

/** The digests that the store has a folder for, sorted; at most `limit`. */
export async function listArtifacts(storeDir: string, limit: number): Promise<readonly Digest[]> {
  const names = await readdir(storeDir).catch(() => []);
  const digests = names.sort().map((name) => Digest.safeParse(name.replace('-', ':')).data);
  return digests.filter((digest) => digest !== undefined).slice(0, limit);
}

/**
 * Removes staging folders that nobody has touched for a day: what a killed maker left behind.
 * Gives their names.
 */
export async function sweepStaging(storeDir: string, nowMs: number): Promise<readonly string[]> {
  const swept = [];
  for (const name of await readdir(storeDir).catch(() => [])) {
    if (!name.startsWith('.tmp-')) continue;
    const touched = (await stat(join(storeDir, name)).catch(() => undefined))?.mtimeMs ?? nowMs;
    if (nowMs - touched < ABANDONED_AFTER_MS) continue;
    await rm(join(storeDir, name), { recursive: true, force: true });
    swept.push(name);
  }
  return swept;
}

/** Reads a description whose hash was checked; throws ArtifactDamagedError for one of another shape. */
export function parseArtifact(bytes: Uint8Array, digest: Digest): Artifact {
  try {
    return Artifact.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (cause) {
    const shape = cause instanceof z.ZodError ? z.prettifyError(cause) : 'it is not JSON';
    throw new ArtifactDamagedError(
      `The description of artifact ${digest} cannot be understood: ${shape}. Build it again with this version.`,
      { cause, context: { digest } },
    );
  }
}

async function replaceDamaged(storeDir: string, stagingDir: string, digest: Digest): Promise<void> {
  const finalDir = join(storeDir, artifactFolder(digest));
  const discarded = join(storeDir, `.tmp-${randomUUID()}`);
  await rename(finalDir, discarded);
  await rename(stagingDir, finalDir);
  await rm(discarded, { recursive: true, force: true });
}

async function readDescription(dir: string, digest: Digest): Promise<Uint8Array> {
  try {
    return await readFile(join(dir, ARTIFACT_DESCRIPTION));
  } catch (cause) {
    if ((await sizeOf(dir)) !== undefined) throw damaged(dir, digest, 'it has no description');
    throw new ArtifactMissingError(`Artifact ${digest} is not on this host. Fetch or build it.`, {
      cause,
      context: { digest },
    });
  }
}

function damaged(dir: string, digest: Digest, what: string): ArtifactDamagedError {
  return new ArtifactDamagedError(
    `Artifact ${digest} is damaged: ${what}. Remove ${dir}; it will be fetched again.`,
    { context: { digest } },
  );
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}

async function syncPath(path: string): Promise<void> {
  await using handle = await open(path, 'r');
  await handle.sync();
}

function isTaken(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'EEXIST' || code === 'ENOTEMPTY';
}
