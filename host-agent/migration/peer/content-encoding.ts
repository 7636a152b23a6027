/** Whether content is compressed on the wire, and how: the one place that knows. */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { PeerProtocolError } from './peer-errors.ts';

export type ContentEncoding = 'plain' | 'zstd';

/** Compression costs more of a core than a fast link saves. */
export const DEFAULT_ENCODING: ContentEncoding = 'plain';
const ZSTD_LEVEL = 1;
const CODES = { plain: 0, zstd: 1 } as const;

export interface EncodedContent {
  readonly code: number;
  readonly bytes: Buffer;
}

/** Stays plain where compression would not make it smaller. */
export function encodeContent(content: Buffer, encoding: ContentEncoding): EncodedContent {
  if (encoding === 'plain') return { code: CODES.plain, bytes: content };
  const params = { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL };
  const bytes = zstdCompressSync(content, { params });
  if (bytes.length >= content.length) return { code: CODES.plain, bytes: content };
  return { code: CODES.zstd, bytes };
}

/** Throws PeerProtocolError unless exactly `plainBytes` come out; never makes more than that. */
export function decodeContent(
  bytes: Buffer,
  { code, plainBytes }: { readonly code: number; readonly plainBytes: number },
): { readonly content: Buffer; readonly encoding: ContentEncoding } {
  if (code !== CODES.plain && code !== CODES.zstd) {
    throw new PeerProtocolError(`The peer sent content in encoding ${code}, which is none.`);
  }
  const content = code === CODES.plain ? bytes : decompress(bytes, plainBytes);
  if (content.length !== plainBytes) {
    throw new PeerProtocolError(
      `The peer sent ${content.length} bytes of content where ${plainBytes} were announced.`,
    );
  }
  return { content, encoding: code === CODES.plain ? 'plain' : 'zstd' };
}

function decompress(bytes: Buffer, maxOutputLength: number): Buffer {
  try {
    return zstdDecompressSync(bytes, { maxOutputLength });
  } catch (cause) {
    throw new PeerProtocolError('The peer sent content that cannot be decompressed.', { cause });
  }
}
