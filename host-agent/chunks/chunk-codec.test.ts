import { randomBytes } from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHUNK_BYTES, ChunkCodec, MAX_SEALED_BYTES, NAME_BYTES } from './chunk-codec.ts';
import { ChunkDamagedError } from './chunk-errors.ts';
import { unpack } from './compression.ts';

const KEY = Buffer.alloc(32, 7);
const codec = new ChunkCodec(KEY);
const CONTENTS: readonly (readonly [string, Buffer])[] = [
  ['one byte', Buffer.from([5])],
  ['text', Buffer.from('to be or not to be, '.repeat(20))],
  ['noise', randomBytes(300)],
];

function refOf(sealed: ReturnType<ChunkCodec['seal']>) {
  return { name: sealed.name, size: sealed.size, length: sealed.bytes.length };
}

function open(content: Buffer, change: (bytes: Buffer) => Buffer): Buffer {
  const sealed = codec.seal(content);
  return codec.open(refOf(sealed), change(sealed.bytes));
}

describe('ChunkCodec', () => {
  it('opens what it sealed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 5000 }), (bytes) => {
        const content = Buffer.from(bytes);
        expect(open(content, (sealed) => sealed).equals(content)).toBe(true);
      }),
    );
  });

  it.each([
    ['of zeros', Buffer.alloc(CHUNK_BYTES)],
    ['of noise', randomBytes(CHUNK_BYTES)],
  ])('takes a whole chunk %s', (_what, content) => {
    const sealed = codec.seal(content);
    expect(sealed.bytes.length).toBeLessThanOrEqual(MAX_SEALED_BYTES);
    expect(codec.open(refOf(sealed), sealed.bytes).equals(content)).toBe(true);
  });

  it.each([0, CHUNK_BYTES + 1])('seals no chunk of %i bytes', (size) => {
    expect(() => codec.seal(Buffer.alloc(size))).toThrow(RangeError);
  });

  it.each(CONTENTS)('notices every single corrupted byte of %s', (_what, content) => {
    for (let at = 0; at < codec.seal(content).bytes.length; at += 1) {
      const corrupt = (bytes: Buffer) => {
        const copy = Buffer.from(bytes);
        copy.writeUInt8(copy.readUInt8(at) ^ 0x10, at);
        return copy;
      };
      expect(() => open(content, corrupt), `byte ${at}`).toThrow(ChunkDamagedError);
    }
  });

  it.each(CONTENTS)('notices every truncation and extension of %s', (_what, content) => {
    for (let length = 0; length < codec.seal(content).bytes.length; length += 1) {
      expect(() => open(content, (bytes) => bytes.subarray(0, length))).toThrow(ChunkDamagedError);
    }
    const longer = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(1)]);
    expect(() => open(content, longer)).toThrow(ChunkDamagedError);
  });

  it('binds the name, the size and the length', () => {
    const sealed = codec.seal(Buffer.from('content'));
    const other = codec.seal(Buffer.from('another'));
    const ref = refOf(sealed);
    for (const wrong of [{ name: other.name }, { size: 6 }, { size: 8 }, { length: 1 }]) {
      expect(() => codec.open({ ...ref, ...wrong }, sealed.bytes)).toThrow(ChunkDamagedError);
    }
    expect(() => codec.open(ref, other.bytes)).toThrow(ChunkDamagedError);
  });

  it('refuses content whose name is another, even when its holder of the key sealed it so', () => {
    const name = codec.name(Buffer.from('promised'));
    const sealed = codec.seal(Buffer.from('delivered'), name);
    expect(() => codec.open(refOf(sealed), sealed.bytes)).toThrow(ChunkDamagedError);
  });

  it('names equal content alike under one key only, and seals it differently each time', () => {
    const content = Buffer.from('content');
    const [a, b] = [codec.seal(content), codec.seal(content)];
    expect(a.name).toBe(b.name);
    expect(Buffer.from(a.name, 'base64url')).toHaveLength(NAME_BYTES);
    expect(a.bytes.equals(b.bytes)).toBe(false);
    const other = new ChunkCodec(Buffer.alloc(32, 8));
    expect(other.name(content)).not.toBe(a.name);
    expect(() => other.open(refOf(a), a.bytes)).toThrow(ChunkDamagedError);
  });

  it('takes keys of 32 bytes only', () => {
    expect(() => new ChunkCodec(Buffer.alloc(31))).toThrow(RangeError);
  });
});

describe('unpack', () => {
  it('unpacks no more than was promised', () => {
    const level = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
    const bomb = zstdCompressSync(Buffer.alloc(64 * 1024 * 1024), level);
    const before = process.memoryUsage().arrayBuffers;
    expect(unpack(Buffer.concat([Buffer.from([1]), bomb]), CHUNK_BYTES)).toBeUndefined();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
  });

  it.each([Buffer.alloc(0), Buffer.from([2, 1]), Buffer.from([1, 1, 2])])('refuses %j', (bytes) => {
    expect(unpack(bytes, 1)).toBeUndefined();
  });
});
