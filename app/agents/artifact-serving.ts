/**
 * Serves the artifact store to hosts: `/artifacts/sha256-<hex>/<file>`, one zstd stream (RFC 8878) of
 * the file's plain bytes. Only names that the artifact's own list holds are opened, so no path leads
 * out of the store. Holes of sparse files are read as zeros, which cost next to nothing compressed.
 */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress } from 'node:zlib';
import { Artifact, artifactFolder } from '../../host-agent/protocol/artifact.ts';
import { Digest } from '../../host-agent/protocol/ids.ts';

const READ_BYTES = 1024 * 1024;
/** Hosts fetch once; the control plane's processor is the scarcer thing. */
const ZSTD_LEVEL = 1;
/** A host that takes nothing for this long is gone or stuck; it asks again. */
const STALL_LIMIT_MS = 60_000;

/** The digest and file that a request's path names; undefined when it is not of that form. */
export function parseArtifactPath(
  path: string,
): { readonly digest: Digest; readonly file: string } | undefined {
  const match = /^\/artifacts\/sha256-([0-9a-f]{64})\/([a-z][a-z0-9.-]{0,63})$/.exec(path);
  const digest = Digest.safeParse(`sha256:${match?.[1]}`).data;
  const file = match?.[2];
  return digest === undefined || file === undefined ? undefined : { digest, file };
}

/** The file's absolute path, when the store holds the artifact and the artifact lists the file. */
export async function findArtifactFile(
  artifactsDir: string,
  wanted: { readonly digest: Digest; readonly file: string },
): Promise<string | undefined> {
  const folder = join(artifactsDir, artifactFolder(wanted.digest));
  const listed = await readListedFiles(join(folder, 'artifact.json'));
  const isListed = listed !== undefined && ['artifact.json', ...listed].includes(wanted.file);
  return isListed ? join(folder, wanted.file) : undefined;
}

/** Streams the file; a failure after the head destroys the connection, so no host takes half for whole. */
export async function sendArtifactFile(path: string, response: ServerResponse): Promise<void> {
  response.setTimeout(STALL_LIMIT_MS, () => response.destroy());
  response.writeHead(200, { 'content-type': 'application/zstd', 'cache-control': 'no-store' });
  await pipeline(
    createReadStream(path, { highWaterMark: READ_BYTES }),
    createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } }),
    response,
  );
}

async function readListedFiles(path: string): Promise<readonly string[] | undefined> {
  try {
    const artifact = Artifact.safeParse(JSON.parse(await readFile(path, 'utf8')));
    return artifact.data?.files.map((file) => file.name);
  } catch {
    return undefined;
  }
}
