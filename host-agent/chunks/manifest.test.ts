import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JobId, VmId } from '../protocol/ids.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { CHUNK_BYTES, ChunkCodec, type ChunkRef } from './chunk-codec.ts';
import { ManifestDamagedError } from './chunk-errors.ts';
import { type Entry, eachEntry, toEntries } from './entries.ts';
import {
  decodeManifest,
  encodeManifest,
  isNewer,
  MANIFEST_PREFIX_BYTES,
  MAX_HEADER_BYTES,
  type Manifest,
  packsOf,
  readManifestHeader,
} from './manifest.ts';
import { decodeBody } from './manifest-body.ts';
import { makePackId } from './pack.ts';

const codec = new ChunkCodec(Buffer.alloc(32, 3));
const VM = VmId.parse('vm-1');
const PACKS = [1, 2, 3].map((n) => makePackId(n, Buffer.alloc(10, n)));

const refs: fc.Arbitrary<ChunkRef> = fc.record({
  name: fc
    .uint8Array({ minLength: 20, maxLength: 20 })
    .map((b) => Buffer.from(b).toString('base64url')),
  pack: fc.constantFrom(...PACKS),
  offset: fc.nat(15 * 1024 * 1024),
  length: fc.integer({ min: 29, max: CHUNK_BYTES }),
  size: fc.integer({ min: 1, max: CHUNK_BYTES }),
});

/** As in a store, one place holds one chunk. */
const pools = fc.uniqueArray(refs, {
  minLength: 1,
  maxLength: 12,
  selector: ({ pack, offset }) => `${pack} ${offset}`,
});

function entriesFrom(pool: readonly ChunkRef[]): fc.Arbitrary<Entry[]> {
  return fc.array(
    fc.oneof(
      fc.constant<Entry>({ kind: 'zero' }),
      fc.constant<Entry>({ kind: 'base' }),
      fc.constantFrom(...pool).map((ref): Entry => ({ kind: 'chunk', ref })),
    ),
    { maxLength: 60 },
  );
}

const manifests: fc.Arbitrary<Manifest> = pools.chain((pool) => {
  const map = fc
    .tuple(entriesFrom(pool), fc.integer({ min: 1, max: CHUNK_BYTES }))
    .map(([ranges, last]) => ({
      sizeBytes: ranges.length === 0 ? 0 : (ranges.length - 1) * CHUNK_BYTES + last,
      entries: toEntries(ranges),
    }));
  const list = fc.array(fc.constantFrom(...pool), { maxLength: 5 });
  const block = fc.tuple(fc.string({ maxLength: 20 }), map);
  return fc.record({
    format: fc.constant(1 as const),
    vmId: fc.constant(VM),
    jobId: fc.constantFrom(null, JobId.parse('42')),
    epoch: fc.nat(),
    generation: fc.nat(),
    createdAtMs: fc.nat(),
    wrappedKey: fc.base64String({ maxLength: 80 }),
    facts: fc.constant({ machine: ['q35', 1, null, { nested: true }] }),
    memory: fc
      .array(block, { maxLength: 4 })
      .map((all) => all.map(([name, m]) => ({ name, ...m }))),
    disk: map,
    deviceState: list,
    prologue: list,
  });
});

function sample(): Manifest {
  const ref = { name: randomBytes(20).toString('base64url'), offset: 0, length: 100, size: 100 };
  const chunk = (pack: string | undefined): Entry => ({
    kind: 'chunk',
    ref: { ...ref, pack: pack ?? '' },
  });
  const entries = toEntries([
    chunk(PACKS[0]),
    { kind: 'zero' },
    { kind: 'base' },
    { kind: 'base' },
  ]);
  return {
    format: 1,
    vmId: VM,
    jobId: null,
    epoch: 4,
    generation: 9,
    createdAtMs: 1,
    wrappedKey: 'AAAA',
    facts: {},
    memory: [{ name: 'm0', sizeBytes: 4 * CHUNK_BYTES, entries }],
    disk: { sizeBytes: 0, entries: [] },
    deviceState: [{ ...ref, pack: PACKS[1] ?? '' }],
    prologue: [],
  };
}

describe('a manifest', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(manifests, (manifest) => {
        const bytes = encodeManifest(codec, manifest);
        expect(decodeManifest(codec, bytes, { vmId: VM, epoch: manifest.epoch })).toEqual(manifest);
      }),
    );
  });

  it('notices every single corrupted byte and every truncation', () => {
    const bytes = encodeManifest(codec, sample());
    for (let at = 0; at < bytes.length; at += 1) {
      const copy = Buffer.from(bytes);
      copy.writeUInt8(copy.readUInt8(at) ^ 4, at);
      expect(() => decodeManifest(codec, copy, { vmId: VM }), `byte ${at}`).toThrow(
        ManifestDamagedError,
      );
      expect(() => decodeManifest(codec, bytes.subarray(0, at), { vmId: VM })).toThrow(
        ManifestDamagedError,
      );
    }
  });

  it('is of one VM, one epoch and one key', () => {
    const bytes = encodeManifest(codec, sample());
    const wrong = [
      () => decodeManifest(codec, bytes, { vmId: VmId.parse('vm-2') }),
      () => decodeManifest(codec, bytes, { vmId: VM, epoch: 5 }),
      () => decodeManifest(new ChunkCodec(Buffer.alloc(32, 4)), bytes, { vmId: VM }),
    ];
    for (const decode of wrong) expect(decode).toThrow(ManifestDamagedError);
  });

  it('shows its header without the key, from as little as needed', () => {
    const manifest = sample();
    const bytes = encodeManifest(codec, manifest);
    const short = readManifestHeader(bytes.subarray(0, MANIFEST_PREFIX_BYTES));
    if (!('neededBytes' in short)) throw new Error('a header out of nothing');
    const read = readManifestHeader(bytes.subarray(0, short.neededBytes));
    const { epoch, generation, wrappedKey } = manifest;
    expect(read).toMatchObject({
      header: { vmId: VM, epoch, generation, wrappedKey, packs: [...packsOf(manifest)] },
    });
  });

  it('is refused before anything is allocated for a header that is too large', () => {
    const bytes = encodeManifest(codec, sample());
    bytes.writeUInt32BE(MAX_HEADER_BYTES + 1, MANIFEST_PREFIX_BYTES - 4);
    expect(() => readManifestHeader(bytes)).toThrow(ManifestDamagedError);
  });

  it('covers all of what it describes', () => {
    const disk = { sizeBytes: CHUNK_BYTES + 1, entries: [{ kind: 'zero', count: 1 }] } as const;
    expect(() => encodeManifest(codec, { ...sample(), disk })).toThrow(RangeError);
  });

  it('decodes no body that claims more than it has', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        const writer = new ByteWriter();
        const json = Buffer.from('{"facts":1,"memory":[],"diskBytes":17592186044416}');
        writer.varint(json.length);
        writer.bytes(json);
        writer.bytes(Buffer.from(noise));
        expect(() => decodeBody(writer.finish(), PACKS)).toThrow();
      }),
    );
  });
});

describe('entries', () => {
  it('are runs of what they were', () => {
    fc.assert(
      fc.property(pools.chain(entriesFrom), (ranges) => {
        const runs = toEntries(ranges);
        expect([...eachEntry(runs)]).toEqual(ranges);
        const kinds = runs.map(({ kind }) => kind);
        expect(kinds.some((kind, at) => at > 0 && kind === kinds[at - 1])).toBe(false);
      }),
    );
  });

  it('keep zero apart from as in base', () => {
    expect(toEntries([{ kind: 'zero' }, { kind: 'base' }, { kind: 'zero' }])).toHaveLength(3);
  });
});

describe('bytes', () => {
  it('read the integers that were written', () => {
    fc.assert(
      fc.property(fc.array(fc.maxSafeNat()), (values) => {
        const writer = new ByteWriter();
        for (const value of values) writer.varint(value);
        const reader = new ByteReader(writer.finish());
        expect(values.map(() => reader.varint())).toEqual(values);
        expect(reader.left).toBe(0);
      }),
    );
  });

  it('end where the bytes end', () => {
    expect(() => new ByteReader(Buffer.from([0x80])).varint()).toThrow(RangeError);
    expect(() => new ByteReader(Buffer.alloc(20, 0xff)).varint()).toThrow(RangeError);
    expect(() => new ByteReader(Buffer.from([9])).varint(8)).toThrow(RangeError);
    expect(() => new ByteReader(Buffer.alloc(1)).bytes(2)).toThrow(RangeError);
  });
});

describe('isNewer', () => {
  it.each([
    [{ epoch: 2, generation: 0 }, { epoch: 1, generation: 9 }, true],
    [{ epoch: 1, generation: 2 }, { epoch: 1, generation: 1 }, true],
    [{ epoch: 1, generation: 1 }, { epoch: 1, generation: 1 }, false],
    [{ epoch: 1, generation: 9 }, { epoch: 2, generation: 0 }, false],
  ])('%j over %j: %s', (a, b, newer) => {
    expect(isNewer(a, b)).toBe(newer);
  });
});
