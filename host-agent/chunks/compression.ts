/**
 * zstd, of which Node has a built-in (it has no lz4). A first byte tells whether what follows is
 * compressed: what does not get smaller is kept as it is.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

/** `npm run bench -- chunks` compares levels: 1 packs nearly as tightly as 3 and is a third faster. */
export const ZSTD_LEVEL = 1;

const FORM = { plain: Buffer.from([0]), zstd: Buffer.from([1]) } as const;

/** The form byte and the content in that form. */
export function pack(content: Buffer, level = ZSTD_LEVEL): readonly [Buffer, Buffer] {
  const compressed = zstdCompressSync(content, {
    params: { [constants.ZSTD_c_compressionLevel]: level },
    chunkSize: inOnePiece(content.length),
  });
  return compressed.length < content.length ? [FORM.zstd, compressed] : [FORM.plain, content];
}

/** The content when it is exactly `sizeBytes` long, else undefined; no more than that is ever unpacked. */
export function unpack(packed: Buffer, sizeBytes: number): Buffer | undefined {
  const content = unpackForm(packed, sizeBytes);
  return content?.length === sizeBytes ? content : undefined;
}

function unpackForm(packed: Buffer, sizeBytes: number): Buffer | undefined {
  const rest = packed.subarray(1);
  if (packed[0] === FORM.plain[0]) return rest;
  if (packed[0] !== FORM.zstd[0]) return undefined;
  try {
    const maxOutputLength = Math.max(1, sizeBytes);
    return zstdDecompressSync(rest, { maxOutputLength, chunkSize: inOnePiece(sizeBytes) });
  } catch {
    return undefined;
  }
}

/** Room for all of it, be it larger when compressed (zstd.h, ZSTD_COMPRESSBOUND): pieces would be copied. */
function inOnePiece(bytes: number): number {
  return bytes + (bytes >> 8) + 128;
}
