/** SHA-256 of files, in bounded memory. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

const BLOCK_BYTES = 4 * 1024 * 1024;

/** Lower-case hexadecimal SHA-256 of a buffer. */
export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/**
 * SHA-256 (hexadecimal) and size of a file's plain bytes, holes read as zeros. The kernel serves
 * holes without touching the disk, so a sparse file costs the hash alone. Rejects as `open` and
 * `read` do, or with the signal's reason.
 */
export async function hashFile(
  path: string,
  signal?: AbortSignal,
): Promise<{ readonly sha256: string; readonly sizeBytes: number }> {
  const hash = createHash('sha256');
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  let sizeBytes = 0;
  await using file = await open(path, 'r');
  for (;;) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(block, 0, block.length, sizeBytes);
    if (bytesRead === 0) break;
    hash.update(block.subarray(0, bytesRead));
    sizeBytes += bytesRead;
  }
  return { sha256: hash.digest('hex'), sizeBytes };
}
