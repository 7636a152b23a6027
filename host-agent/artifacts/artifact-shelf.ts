/**
 * Artifacts in the chunk store: the first host that fetched one puts it there, the others take it from
 * there, so that the control plane sends each once.
 *
 *   artifacts/<hex>/artifact.json     the description; written last, so that what has it is complete
 *   artifacts/<hex>/<file>/<n>        PIECE_BYTES of the file, compressed by zstd
 *
 * Nothing here is trusted: whoever reads checks the hashes. Two hosts may write the same at once.
 */
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import { ObjectMissingError } from '../chunks/chunk-errors.ts';
import type { ObjectBackend } from '../chunks/object-backend.ts';
import type { ArtifactFile } from '../protocol/artifact.ts';
import type { Digest } from '../protocol/ids.ts';
import { ARTIFACT_DESCRIPTION, digestOf, type OpenArtifact } from './artifact-store.ts';

export const PIECE_BYTES = 8 * 1024 * 1024;
const DESCRIPTION_LIMIT_BYTES = 64 * 1024;
/** Of a piece that does not compress; zstd adds less. */
const MAX_STORED_BYTES = PIECE_BYTES + 64 * 1024;
/** Pieces that are asked for before the one before them is written. */
const AHEAD = 4;
const ZSTD_LEVEL = 1;

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

export class ArtifactShelf {
  readonly #backend: ObjectBackend;

  constructor(backend: ObjectBackend) {
    this.#backend = backend;
  }

  /** Undefined: it is not there, or not all of it. Throws what the store throws. */
  async describe(digest: Digest, signal: AbortSignal): Promise<Buffer | undefined> {
    const range = { offset: 0, length: DESCRIPTION_LIMIT_BYTES };
    try {
      const { body } = await this.#backend.get(keyOf(digest, ARTIFACT_DESCRIPTION), {
        range,
        signal,
      });
      return digestOf(body) === digest ? body : undefined;
    } catch (error) {
      if (error instanceof ObjectMissingError) return undefined;
      throw error;
    }
  }

  /** The file's plain bytes in order. Throws what the store throws, or what zlib does of other bytes. */
  async *read(digest: Digest, file: ArtifactFile, signal: AbortSignal): AsyncGenerator<Buffer> {
    const count = pieceCount(file);
    const ahead: Promise<Buffer>[] = [];
    for (let next = 0, n = 0; n < count; n += 1) {
      for (; next < count && ahead.length < AHEAD; next += 1) {
        const piece = this.#piece(pieceKey(digest, file, next), signal);
        // Whoever comes to it hears of it; before that an earlier one may have ended the reading.
        piece.catch(() => undefined);
        ahead.push(piece);
      }
      const piece = await ahead.shift();
      if (piece !== undefined) yield piece;
    }
  }

  /** Idempotent. Throws what the store or the file system throws; then it is not there as a whole. */
  async publish({ dir, digest, artifact }: OpenArtifact, signal: AbortSignal): Promise<void> {
    if ((await this.describe(digest, signal)) !== undefined) return;
    for (const file of artifact.files) await this.#publishFile({ dir, digest, file }, signal);
    const description = await readFile(join(dir, ARTIFACT_DESCRIPTION));
    await this.#backend.put(keyOf(digest, ARTIFACT_DESCRIPTION), description, { signal });
  }

  async #publishFile(
    {
      dir,
      digest,
      file,
    }: { readonly dir: string; readonly digest: Digest; readonly file: ArtifactFile },
    signal: AbortSignal,
  ): Promise<void> {
    const handle = await open(join(dir, file.name), 'r');
    try {
      for (let n = 0; n < pieceCount(file); n += 1) {
        const piece = await readPiece(handle, file, n);
        const params = { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL };
        const packed = await compress(piece, { params });
        await this.#backend.put(pieceKey(digest, file, n), packed, { signal });
      }
    } finally {
      await handle.close();
    }
  }

  async #piece(key: string, signal: AbortSignal): Promise<Buffer> {
    const range = { offset: 0, length: MAX_STORED_BYTES };
    const { body } = await this.#backend.get(key, { range, signal });
    return await decompress(body, { maxOutputLength: PIECE_BYTES });
  }
}

function keyOf(digest: Digest, name: string): string {
  return `artifacts/${digest.slice(digest.indexOf(':') + 1)}/${name}`;
}

function pieceKey(digest: Digest, file: ArtifactFile, n: number): string {
  return keyOf(digest, `${file.name}/${n}`);
}

function pieceCount({ sizeBytes }: ArtifactFile): number {
  return Math.ceil(sizeBytes / PIECE_BYTES);
}

async function readPiece(handle: FileHandle, file: ArtifactFile, n: number): Promise<Buffer> {
  const position = n * PIECE_BYTES;
  const piece = Buffer.alloc(Math.min(PIECE_BYTES, file.sizeBytes - position));
  for (let done = 0; done < piece.length; ) {
    const { bytesRead } = await handle.read(piece, done, piece.length - done, position + done);
    if (bytesRead === 0) throw new RangeError(`${file.name} is shorter than listed`);
    done += bytesRead;
  }
  return piece;
}
