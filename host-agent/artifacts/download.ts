/** One HTTPS transfer of one artifact file: decompressed, bounded, checked. */
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createZstdDecompress } from 'node:zlib';
import { type Dispatcher, request as httpRequest } from 'undici';
import type { ArtifactFile } from '../protocol/artifact.ts';
import type { Digest } from '../protocol/ids.ts';
import { ArtifactDamagedError, ArtifactFetchError } from './artifact-errors.ts';
import { digestOf } from './artifact-store.ts';
import { createSparseFile, FileTooLongError } from './sparse-file.ts';

const DESCRIPTION_LIMIT_BYTES = 64 * 1024;
/** No byte for this long: the transfer is dead. */
const IDLE_TIMEOUT_MS = 30_000;

interface Download {
  readonly dispatcher: Dispatcher;
  readonly signal: AbortSignal;
  readonly url: string;
  readonly digest: Digest;
}

/** The artifact's description, whose hash is the digest. Throws as `fetchArtifact` does. */
export async function downloadBytes(download: Download): Promise<Buffer> {
  const { url, digest } = download;
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  await transfer(download, async function collect(source: AsyncIterable<Buffer>) {
    for await (const part of source) {
      sizeBytes += part.length;
      if (sizeBytes > DESCRIPTION_LIMIT_BYTES) throw new FileTooLongError();
      parts.push(part);
    }
  });
  const bytes = Buffer.concat(parts);
  if (digestOf(bytes) !== digest) throw wrongBytes(url, digest, 'its hash is another');
  return bytes;
}

/** Writes a listed file to `path`, sparse and synced. On failure what was written stays there. */
export async function downloadFile(
  download: Download & { readonly path: string; readonly file: ArtifactFile },
): Promise<void> {
  await receiveFile({ ...download, from: download.url }, (sink) => transfer(download, sink));
}

/** As `downloadFile`, from wherever `pour` takes the plain bytes. Throws what that throws. */
export async function receiveFile(
  wanted: {
    readonly digest: Digest;
    readonly path: string;
    readonly file: ArtifactFile;
    /** For messages. */
    readonly from: string;
  },
  pour: (sink: Writable) => Promise<void>,
): Promise<void> {
  const { from, digest, path, file } = wanted;
  const target = await createSparseFile(path, file.sizeBytes);
  try {
    await pour(target.stream);
  } finally {
    target.stream.destroy();
  }
  const got = target.result();
  if (got.sizeBytes < file.sizeBytes) {
    throw broken(from, digest, `it ended after ${got.sizeBytes} of ${file.sizeBytes} bytes`);
  }
  if (got.sha256 !== file.sha256) throw wrongBytes(from, digest, `its hash is ${got.sha256}`);
}

type Sink = NodeJS.WritableStream | ((source: AsyncIterable<Buffer>) => Promise<void>);

async function transfer({ url, dispatcher, signal, digest }: Download, sink: Sink): Promise<void> {
  const options = { headersTimeout: IDLE_TIMEOUT_MS, bodyTimeout: IDLE_TIMEOUT_MS };
  try {
    const { statusCode, headers, body } = await httpRequest(url, {
      dispatcher,
      signal,
      ...options,
    });
    const refusal = refuseResponse(statusCode, headers['content-type']);
    if (refusal !== undefined) {
      await body.dump();
      throw broken(url, digest, refusal);
    }
    await pipeline(body, createZstdDecompress(), sink, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw explainTransfer(error, url, digest);
  }
}

function refuseResponse(status: number, type: string | string[] | undefined): string | undefined {
  if (status !== 200) return `the control plane answered ${status}`;
  if (type !== 'application/zstd') return `the answer's type is ${type ?? 'not given'}`;
  return undefined;
}

function explainTransfer(error: unknown, url: string, digest: Digest): unknown {
  if (error instanceof ArtifactFetchError) return error;
  if (error instanceof FileTooLongError) return wrongBytes(url, digest, 'it is longer than listed');
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOSPC') return error;
  return broken(url, digest, error instanceof Error ? error.message : String(error), error);
}

function broken(url: string, digest: Digest, what: string, cause?: unknown): ArtifactFetchError {
  return new ArtifactFetchError(`Fetching ${url} broke: ${what}. The agent tries again.`, {
    cause,
    context: { digest },
  });
}

function wrongBytes(url: string, digest: Digest, what: string): ArtifactDamagedError {
  return new ArtifactDamagedError(
    `What ${url} sends is not artifact ${digest}: ${what}. Publish the artifact anew.`,
    { context: { digest } },
  );
}
