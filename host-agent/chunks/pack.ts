/**
 * Packs: sealed chunks back to back, so that storing them costs few requests.
 *
 *   chunk … chunk │ index box │ footer: magic 8, count u32, length of the index box u32
 *
 * The index names the chunks in their order, each with its two lengths; it is sealed, so it cannot be
 * swapped or forged. Readers who have a manifest need neither index nor footer: a reference is enough.
 */
import { ByteReader, ByteWriter } from './bytes.ts';
import {
  CHUNK_BYTES,
  type ChunkCodec,
  type ChunkRef,
  MAX_SEALED_BYTES,
  NAME_BYTES,
  type SealedChunk,
} from './chunk-codec.ts';
import { PackDamagedError } from './chunk-errors.ts';
import { BOX_OVERHEAD_BYTES } from './sealed-box.ts';

const MIB = 1024 * 1024;
/** A pack is closed when its chunks reach this: close to the limit, since requests cost money. */
export const PACK_TARGET_BYTES = 15 * MIB;
export const PACK_MAX_BYTES = 16 * MIB;
/** Keeps the index of a pack full of tiny chunks below half a MiB. */
export const PACK_MAX_CHUNKS = 16_384;

const MAGIC = Buffer.from('ARCPACK1');
const FOOTER_BYTES = MAGIC.length + 8;
const PACK_ID = /^[0-9a-f]{32}$/;

/** Time first, so that a pack's age can be told by its id: 48 bits of milliseconds, 80 random bits. */
export function makePackId(nowMs: number, random: Buffer): string {
  return Math.floor(nowMs).toString(16).padStart(12, '0') + random.toString('hex', 0, 10);
}

export function isPackId(text: string): boolean {
  return PACK_ID.test(text);
}

/** By the clock of whoever wrote it. */
export function packCreatedAtMs(packId: string): number {
  return Number.parseInt(packId.slice(0, 12), 16);
}

export class PackBuilder {
  readonly id: string;
  readonly #chunks: SealedChunk[] = [];
  #sizeBytes = 0;

  constructor(id: string) {
    this.id = id;
  }

  get isEmpty(): boolean {
    return this.#chunks.length === 0;
  }

  /** Further chunks belong into another pack. */
  get isFull(): boolean {
    return this.#sizeBytes >= PACK_TARGET_BYTES || this.#chunks.length >= PACK_MAX_CHUNKS;
  }

  add(chunk: SealedChunk): ChunkRef {
    if (this.isFull) throw new RangeError('a full pack takes no chunk');
    const { name, size, bytes } = chunk;
    const ref = { name, pack: this.id, offset: this.#sizeBytes, length: bytes.length, size };
    this.#chunks.push(chunk);
    this.#sizeBytes += bytes.length;
    return ref;
  }

  finish(codec: ChunkCodec): Buffer {
    const index = new ByteWriter();
    for (const { name, size, bytes } of this.#chunks) {
      index.bytes(Buffer.from(name, 'base64url'));
      index.varint(bytes.length);
      index.varint(size);
    }
    const box = codec.sealIndex(this.id, index.finish());
    const footer = Buffer.alloc(FOOTER_BYTES);
    MAGIC.copy(footer);
    footer.writeUInt32BE(this.#chunks.length, MAGIC.length);
    footer.writeUInt32BE(box.length, MAGIC.length + 4);
    return Buffer.concat([...this.#chunks.map(({ bytes }) => bytes), box, footer]);
  }
}

/** What a whole pack says it holds; throws PackDamagedError. The chunks are verified when opened. */
export function readPackIndex(codec: ChunkCodec, packId: string, body: Buffer): ChunkRef[] {
  const parts = splitPack(body);
  const index = parts && codec.openIndex(packId, parts.box);
  if (parts === undefined || index === undefined) throw damaged(packId);
  try {
    const refs = parseIndex({ index, packId, count: parts.count });
    const last = refs.at(-1);
    if ((last ? last.offset + last.length : 0) === parts.chunkBytes) return refs;
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
  }
  throw damaged(packId);
}

function splitPack(body: Buffer): { count: number; chunkBytes: number; box: Buffer } | undefined {
  const footerAt = body.length - FOOTER_BYTES;
  if (footerAt < BOX_OVERHEAD_BYTES || body.length > PACK_MAX_BYTES) return undefined;
  const footer = body.subarray(footerAt);
  if (!footer.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const count = footer.readUInt32BE(MAGIC.length);
  const chunkBytes = footerAt - footer.readUInt32BE(MAGIC.length + 4);
  if (count > PACK_MAX_CHUNKS || chunkBytes < 0) return undefined;
  return { count, chunkBytes, box: body.subarray(chunkBytes, footerAt) };
}

function parseIndex(given: {
  readonly index: Buffer;
  readonly packId: string;
  readonly count: number;
}): ChunkRef[] {
  const reader = new ByteReader(given.index);
  const refs: ChunkRef[] = [];
  let offset = 0;
  for (let at = 0; at < given.count; at += 1) {
    const name = reader.bytes(NAME_BYTES).toString('base64url');
    const length = reader.varint(MAX_SEALED_BYTES);
    const size = reader.varint(CHUNK_BYTES);
    refs.push({ name, pack: given.packId, offset, length, size });
    offset += length;
  }
  if (reader.left > 0) throw new RangeError('the index goes on');
  return refs;
}

function damaged(packId: string): PackDamagedError {
  return new PackDamagedError(
    'A pack of chunks is damaged in the store, or its key is not this one.',
    { context: { packId } },
  );
}
