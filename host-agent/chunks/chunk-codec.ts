/**
 * Turns pieces of memory and disk into sealed, named chunks and back.
 *
 *   key of the VM or template ─HKDF─▶ naming      name = HMAC-SHA-256(content), cut to 20 bytes
 *                                     sealing     chunks: zstd, then AES-256-GCM; indices of packs
 *                                     manifest    bodies of manifests
 *
 * A name tells nothing without the key: whoever sees the store cannot test what a VM holds. 20 bytes:
 * among 2^32 chunks two share a name with probability 2^-97, and nobody can search for such a pair
 * without the key. A name is in every reference of every manifest and does not compress, so 12 bytes
 * less of it is a third of a manifest.
 *
 * Compression comes before encryption, so the length of a sealed chunk tells how well it compresses.
 * Nothing that an attacker chooses shares a chunk with a secret more than in the guest's own pages.
 */
import { createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import { ChunkDamagedError } from './chunk-errors.ts';
import { pack, unpack, ZSTD_LEVEL } from './compression.ts';
import { BOX_OVERHEAD_BYTES, openBox, sealBox } from './sealed-box.ts';

/** 16 pages of memory, or one cluster of the disk. */
export const CHUNK_BYTES = 65_536;
export const KEY_BYTES = 32;
export const NAME_BYTES = 20;
/** The form byte and the box around the content. */
export const MAX_SEALED_BYTES = CHUNK_BYTES + 1 + BOX_OVERHEAD_BYTES;

/** Where a chunk is in the store. Kept by the hundred thousand: flat, and packs' ids are shared strings. */
export interface ChunkRef {
  /** Keyed hash of the content, base64url. */
  readonly name: string;
  readonly pack: string;
  /** In the pack, in bytes. */
  readonly offset: number;
  /** Sealed, in bytes. */
  readonly length: number;
  /** Plain, in bytes. */
  readonly size: number;
}

export interface SealedChunk {
  readonly name: string;
  /** Plain, in bytes. */
  readonly size: number;
  readonly bytes: Buffer;
}

type Purpose = 'naming' | 'sealing' | 'manifest';

export class ChunkCodec {
  /** As KeyObjects: a Buffer is made one anew for each use, which is a fourth of a chunk's cost. */
  readonly #keys: Readonly<Record<Purpose, KeyObject>>;
  readonly #level: number;

  constructor(key: Buffer, { level = ZSTD_LEVEL }: { readonly level?: number } = {}) {
    if (key.length !== KEY_BYTES) throw new RangeError(`a key has ${KEY_BYTES} bytes`);
    this.#keys = {
      naming: derive(key, 'naming'),
      sealing: derive(key, 'sealing'),
      manifest: derive(key, 'manifest'),
    };
    this.#level = level;
  }

  name(content: Buffer): string {
    const digest = createHmac('sha256', this.#keys.naming).update(content).digest();
    return digest.toString('base64url', 0, NAME_BYTES);
  }

  /** `content` has 1 to CHUNK_BYTES bytes (RangeError). `name` saves hashing it again. */
  seal(content: Buffer, name = this.name(content)): SealedChunk {
    const size = content.length;
    if (size < 1 || size > CHUNK_BYTES) throw new RangeError(`a chunk of ${size} bytes`);
    const packed = pack(content, this.#level);
    const length = packed[0].length + packed[1].length + BOX_OVERHEAD_BYTES;
    const associated = chunkAssociated({ name, size, length });
    const bytes = sealBox({ key: this.#keys.sealing, associated, content: packed });
    return { name, size, bytes };
  }

  /** The content that `ref` names, out of its sealed bytes; throws ChunkDamagedError for any others. */
  open(ref: Pick<ChunkRef, 'name' | 'size' | 'length'>, bytes: Buffer): Buffer {
    const content = this.#tryOpen(ref, bytes);
    if (content !== undefined && this.name(content) === ref.name) return content;
    throw new ChunkDamagedError(
      'A chunk of a VM is damaged in the store, or its key is not this one; it has to come from another copy.',
      { context: { name: ref.name, lengthBytes: bytes.length, wantedBytes: ref.length } },
    );
  }

  #tryOpen(ref: Pick<ChunkRef, 'name' | 'size' | 'length'>, bytes: Buffer): Buffer | undefined {
    if (bytes.length !== ref.length || bytes.length > MAX_SEALED_BYTES) return undefined;
    if (ref.size < 1 || ref.size > CHUNK_BYTES) return undefined;
    const packed = openBox(this.#keys.sealing, chunkAssociated(ref), bytes);
    return packed === undefined ? undefined : unpack(packed, ref.size);
  }

  sealIndex(packId: string, index: Buffer): Buffer {
    const associated = Buffer.from(`architect pack index 1\0${packId}`);
    return sealBox({ key: this.#keys.sealing, associated, content: [index] });
  }

  openIndex(packId: string, box: Buffer): Buffer | undefined {
    return openBox(this.#keys.sealing, Buffer.from(`architect pack index 1\0${packId}`), box);
  }

  /** `header` stays readable beside the box and is authenticated with it. */
  sealManifest(header: Buffer, body: Buffer): Buffer {
    const content = pack(body, this.#level);
    return sealBox({ key: this.#keys.manifest, associated: header, content });
  }

  /** The body when it is whole, goes with this header and has `sizeBytes` bytes; else undefined. */
  openManifest(
    header: Buffer,
    { box, sizeBytes }: { readonly box: Buffer; readonly sizeBytes: number },
  ): Buffer | undefined {
    const packed = openBox(this.#keys.manifest, header, box);
    return packed === undefined ? undefined : unpack(packed, sizeBytes);
  }
}

function derive(key: Buffer, purpose: Purpose): KeyObject {
  const info = `architect chunks 1 ${purpose}`;
  return createSecretKey(Buffer.from(hkdfSync('sha256', key, '', info, KEY_BYTES)));
}

function chunkAssociated({ name, size, length }: Pick<ChunkRef, 'name' | 'size' | 'length'>) {
  return Buffer.from(`architect chunk 1\0${name}\0${size}\0${length}`);
}
