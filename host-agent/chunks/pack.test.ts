import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHUNK_BYTES, ChunkCodec, type ChunkRef } from './chunk-codec.ts';
import { PackDamagedError } from './chunk-errors.ts';
import {
  isPackId,
  makePackId,
  PACK_MAX_BYTES,
  PACK_MAX_CHUNKS,
  PACK_TARGET_BYTES,
  PackBuilder,
  packCreatedAtMs,
  readPackIndex,
} from './pack.ts';

const codec = new ChunkCodec(Buffer.alloc(32, 1));
const ID = makePackId(1_700_000_000_123, Buffer.alloc(10, 0xab));

function packOf(contents: readonly Buffer[]): { refs: ChunkRef[]; body: Buffer } {
  const builder = new PackBuilder(ID);
  const refs = contents.map((content) => builder.add(codec.seal(content)));
  return { refs, body: builder.finish(codec) };
}

function openAll(refs: readonly ChunkRef[], body: Buffer): Buffer[] {
  return refs.map((ref) => codec.open(ref, body.subarray(ref.offset, ref.offset + ref.length)));
}

describe('a pack', () => {
  it('gives back its chunks, by reference and by index', () => {
    const content = fc.uint8Array({ minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(fc.array(content, { maxLength: 20 }), (arrays) => {
        const contents = arrays.map((bytes) => Buffer.from(bytes));
        const { refs, body } = packOf(contents);
        expect(readPackIndex(codec, ID, body)).toEqual(refs);
        expect(openAll(refs, body)).toEqual(contents);
      }),
    );
  });

  it('notices every corrupted byte of index and footer, every truncation, another id and key', () => {
    const { refs, body } = packOf([Buffer.from('a'), Buffer.from('bc')]);
    const indexAt = (refs[1]?.offset ?? 0) + (refs[1]?.length ?? 0);
    for (let at = indexAt; at < body.length; at += 1) {
      const copy = Buffer.from(body);
      copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
      expect(() => readPackIndex(codec, ID, copy), `byte ${at}`).toThrow(PackDamagedError);
    }
    for (let length = 0; length < body.length; length += 1) {
      expect(() => readPackIndex(codec, ID, body.subarray(0, length))).toThrow(PackDamagedError);
    }
    const otherId = makePackId(0, Buffer.alloc(10));
    expect(() => readPackIndex(codec, otherId, body)).toThrow(PackDamagedError);
    const otherKey = new ChunkCodec(Buffer.alloc(32, 2));
    expect(() => readPackIndex(otherKey, ID, body)).toThrow(PackDamagedError);
  });

  it('notices chunks cut out from under a genuine index', () => {
    const { body } = packOf([Buffer.from('a'), Buffer.from('bc')]);
    expect(() => readPackIndex(codec, ID, body.subarray(1))).toThrow(PackDamagedError);
  });

  it('is full within its limits, with large chunks and with many', () => {
    const large = new PackBuilder(ID);
    const noise = codec.seal(randomBytes(CHUNK_BYTES));
    while (!large.isFull) large.add(noise);
    const { length } = large.finish(codec);
    expect(length).toBeGreaterThanOrEqual(PACK_TARGET_BYTES);
    expect(length).toBeLessThanOrEqual(PACK_MAX_BYTES);
    expect(() => large.add(noise)).toThrow(RangeError);
    const many = new PackBuilder(ID);
    const tiny = codec.seal(Buffer.from([1]));
    for (let n = 0; n < PACK_MAX_CHUNKS; n += 1) many.add(tiny);
    expect(many.isFull).toBe(true);
    expect(readPackIndex(codec, ID, many.finish(codec))).toHaveLength(PACK_MAX_CHUNKS);
  });
});

describe('a pack id', () => {
  it('tells when it was made', () => {
    expect(isPackId(ID)).toBe(true);
    expect(isPackId('../head')).toBe(false);
    expect(packCreatedAtMs(ID)).toBe(1_700_000_000_123);
  });
});
