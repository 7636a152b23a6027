/** A writable stream into a new file that leaves zero blocks as holes and hashes what passes. */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { Writable } from 'node:stream';

const BLOCK_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

export interface SparseFile {
  readonly stream: Writable;
  /** Valid once the stream has finished: the file then has this size on disk, too. */
  readonly result: () => { readonly sizeBytes: number; readonly sha256: string };
}

export class FileTooLongError extends Error {}

/**
 * The stream fails with FileTooLongError at the first byte beyond `limitBytes`, so that a hostile
 * body cannot fill the disk, and with the file system's errors. Whatever it wrote stays.
 */
export async function createSparseFile(path: string, limitBytes: number): Promise<SparseFile> {
  const file = await open(path, 'w', 0o644);
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const stream = new Writable({
    highWaterMark: 4 * BLOCK_BYTES,
    write(chunk: Buffer, _encoding, done) {
      const position = sizeBytes;
      sizeBytes += chunk.length;
      if (sizeBytes > limitBytes) return done(new FileTooLongError());
      hash.update(chunk);
      writeNonZero(file, chunk, position).then(() => done(), done);
    },
    final(done) {
      finish(file, sizeBytes).then(() => done(), done);
    },
    destroy(error, done) {
      file.close().then(
        () => done(error),
        (closing) => done(error ?? closing),
      );
    },
  });
  return { stream, result: () => ({ sizeBytes, sha256: hash.copy().digest('hex') }) };
}

async function finish(file: FileHandle, sizeBytes: number): Promise<void> {
  await file.truncate(sizeBytes);
  await file.sync();
}

async function writeNonZero(file: FileHandle, chunk: Buffer, position: number): Promise<void> {
  for (let at = 0; at < chunk.length; at += BLOCK_BYTES) {
    const block = chunk.subarray(at, at + BLOCK_BYTES);
    if (block.equals(ZEROS.subarray(0, block.length))) continue;
    await writeFully(file, block, position + at);
  }
}

async function writeFully(file: FileHandle, block: Buffer, position: number): Promise<void> {
  for (let done = 0; done < block.length; ) {
    const { bytesWritten } = await file.write(block, done, block.length - done, position + done);
    done += bytesWritten;
  }
}
