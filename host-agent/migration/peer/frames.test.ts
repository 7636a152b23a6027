import fc from 'fast-check';
import { expect, test } from 'vitest';
import { allocateFrame, FrameParser, type RawFrame } from './frame-codec.ts';
import { PeerProtocolError } from './peer-errors.ts';
import { decodeFrame, encodeFrame, MAX_PAYLOAD_BYTES, type PeerFrame } from './peer-frames.ts';
import { runsOf } from './unit-frames.ts';

const UNIT_BYTES = 64;

const anyUnits = fc
  .uniqueArray(fc.nat({ max: 0xffff_ffff }), { minLength: 1, maxLength: 8 })
  .chain((units) =>
    fc.record({
      kind: fc.constant('units' as const),
      area: fc.nat({ max: 255 }),
      unitBytes: fc.constant(UNIT_BYTES),
      units: fc.constant(units),
      content: fc
        .uint8Array({ minLength: units.length * UNIT_BYTES, maxLength: units.length * UNIT_BYTES })
        .map((bytes) => Buffer.from(bytes)),
      encoding: fc.constant('plain' as const),
    }),
  );

const anyFrame: fc.Arbitrary<PeerFrame> = fc.oneof(
  anyUnits,
  fc.record({
    kind: fc.constant('zero-units' as const),
    area: fc.nat({ max: 255 }),
    runs: fc.array(fc.record({ first: fc.nat(), count: fc.nat() }), { maxLength: 5 }),
  }),
  fc
    .uint8Array({ maxLength: 50 })
    .map((piece) => ({ kind: 'device-state' as const, piece: Buffer.from(piece) })),
  fc.string({ maxLength: 80 }).map((why) => ({ kind: 'abort' as const, why })),
  fc.json().map((text) => ({ kind: 'token' as const, message: JSON.parse(text) })),
  fc.constantFrom<PeerFrame>({ kind: 'ping' }, { kind: 'ready' }, { kind: 'loaded' }),
  fc.record({
    kind: fc.constant('missing' as const),
    area: fc.nat({ max: 255 }),
    ranges: fc.array(fc.nat(), { minLength: 1, maxLength: 9 }),
  }),
);

function parse(pieces: readonly Buffer[], limit = MAX_PAYLOAD_BYTES): readonly PeerFrame[] {
  const parser = new FrameParser(limit);
  const frames: PeerFrame[] = [];
  for (const piece of pieces) parser.push(piece, (frame) => frames.push(decodeFrame(frame)));
  expect(parser.isBetweenFrames).toBe(true);
  return frames;
}

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted(
    (a, b) => a - b,
  );
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

test('property: any split of the wire gives the frames that were sent', () => {
  const cuts = fc.array(fc.nat(), { maxLength: 40 });
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 6 }), cuts, (frames, where) => {
      const wire = Buffer.concat(frames.map(encodeFrame));
      expect(parse(split(wire, where))).toEqual(frames);
    }),
  );
});

test('one byte at a time is as good as all at once', () => {
  const frames: PeerFrame[] = [{ kind: 'ping' }, { kind: 'abort', why: 'no room' }];
  const wire = Buffer.concat([...frames.map(encodeFrame), allocateFrame(4, 0)]);
  expect(parse([...wire].map((byte) => Buffer.from([byte])))).toEqual([
    ...frames,
    { kind: 'device-state', piece: Buffer.alloc(0) },
  ]);
});

test('property: garbage is refused with one kind of error, or waits for more', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
      const raw: RawFrame[] = [];
      try {
        new FrameParser(1000).push(Buffer.from(noise), (frame) => raw.push(frame));
        for (const frame of raw) decodeFrame(frame);
      } catch (error) {
        expect(error).toBeInstanceOf(PeerProtocolError);
      }
    }),
  );
});

test('property: a payload of chance under any type is refused with one kind of error', () => {
  fc.assert(
    fc.property(fc.nat({ max: 8 }), fc.uint8Array({ maxLength: 100 }), (type, noise) => {
      try {
        decodeFrame({ type, payload: Buffer.from(noise) });
      } catch (error) {
        expect(error).toBeInstanceOf(PeerProtocolError);
      }
    }),
  );
});

test('a frame that is too long is refused by its head', () => {
  const parser = new FrameParser(100);
  const push = () => parser.push(allocateFrame(1, 101).subarray(0, 5), () => {});
  expect(push).toThrow(PeerProtocolError);
});

test('compressed content arrives as it was, and is bounded by what was announced', () => {
  const content = Buffer.alloc(4096 * 4, 'architect');
  const frame = { kind: 'units', area: 0, unitBytes: 4096, units: [1, 2, 3, 9], content } as const;
  const wire = encodeFrame({ ...frame, encoding: 'zstd' });
  expect(wire.length).toBeLessThan(content.length / 10);
  expect(parse([wire])).toEqual([{ ...frame, encoding: 'zstd' }]);
  wire.writeUInt32BE(1024, 5 + 4);
  expect(() => parse([wire])).toThrow(/cannot be decompressed/);
});

test('content that does not shrink travels plain', () => {
  const content = Buffer.from([1, 2, 3, 4]);
  const frame = { kind: 'units', area: 0, unitBytes: 4, units: [7], content } as const;
  expect(parse([encodeFrame({ ...frame, encoding: 'zstd' })])).toEqual([
    { ...frame, encoding: 'plain' },
  ]);
});

test('neighbours become runs', () => {
  expect(runsOf([1, 2, 3, 7, 9, 10])).toEqual([
    { first: 1, count: 3 },
    { first: 7, count: 1 },
    { first: 9, count: 2 },
  ]);
});
