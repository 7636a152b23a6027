/**
 * Frames of content, big-endian:
 *
 *   units       u8 area, u8 encoding, u16 count, u32 bytes of one unit, count × u32 unit, content
 *   zero-units  u8 area, u16 count, count × (u32 first, u32 units)
 *
 * The content is `count` units one after the other, encoded as a whole (content-encoding.ts).
 */
import { type ContentEncoding, decodeContent, encodeContent } from './content-encoding.ts';
import { allocateFrame, HEAD_BYTES } from './frame-codec.ts';
import { PeerProtocolError } from './peer-errors.ts';

/** Of the content of one frame. */
export const MAX_CONTENT_BYTES = 4 * 1024 * 1024;
export const MAX_ZERO_RUNS = 4096;
const UNITS_HEAD_BYTES = 8;
const ZERO_HEAD_BYTES = 3;
const UNIT_BYTES = 4;
const RUN_BYTES = 8;

export interface UnitsFrame {
  readonly kind: 'units';
  readonly area: number;
  readonly unitBytes: number;
  readonly units: readonly number[];
  /** `units.length` units, each of `unitBytes`. */
  readonly content: Buffer;
  /** How it travels; on arrival it is plain again. */
  readonly encoding: ContentEncoding;
}

export interface UnitRun {
  readonly first: number;
  readonly count: number;
}

export interface ZeroUnitsFrame {
  readonly kind: 'zero-units';
  readonly area: number;
  readonly runs: readonly UnitRun[];
}

export function encodeUnits(type: number, frame: UnitsFrame): Buffer {
  const content = encodeContent(frame.content, frame.encoding);
  const contentAt = UNITS_HEAD_BYTES + frame.units.length * UNIT_BYTES;
  const bytes = allocateFrame(type, contentAt + content.bytes.length);
  bytes.writeUInt8(frame.area, HEAD_BYTES);
  bytes.writeUInt8(content.code, HEAD_BYTES + 1);
  bytes.writeUInt16BE(frame.units.length, HEAD_BYTES + 2);
  bytes.writeUInt32BE(frame.unitBytes, HEAD_BYTES + 4);
  let at = HEAD_BYTES + UNITS_HEAD_BYTES;
  for (const unit of frame.units) at = bytes.writeUInt32BE(unit, at);
  content.bytes.copy(bytes, at);
  return bytes;
}

export function decodeUnits(payload: Buffer): UnitsFrame {
  if (payload.length < UNITS_HEAD_BYTES) throw broken('is too short');
  const count = payload.readUInt16BE(2);
  const unitBytes = payload.readUInt32BE(4);
  const contentAt = UNITS_HEAD_BYTES + count * UNIT_BYTES;
  if (count === 0 || unitBytes === 0 || payload.length < contentAt) throw broken('has no content');
  if (count * unitBytes > MAX_CONTENT_BYTES) throw broken('has too much content');
  const units = Array.from({ length: count }, (_, index) =>
    payload.readUInt32BE(UNITS_HEAD_BYTES + index * UNIT_BYTES),
  );
  const { content, encoding } = decodeContent(payload.subarray(contentAt), {
    code: payload.readUInt8(1),
    plainBytes: count * unitBytes,
  });
  return { kind: 'units', area: payload.readUInt8(0), unitBytes, units, content, encoding };
}

export function encodeZeroUnits(type: number, { area, runs }: ZeroUnitsFrame): Buffer {
  const bytes = allocateFrame(type, ZERO_HEAD_BYTES + runs.length * RUN_BYTES);
  bytes.writeUInt8(area, HEAD_BYTES);
  bytes.writeUInt16BE(runs.length, HEAD_BYTES + 1);
  let at = HEAD_BYTES + ZERO_HEAD_BYTES;
  for (const { first, count } of runs) {
    at = bytes.writeUInt32BE(first, at);
    at = bytes.writeUInt32BE(count, at);
  }
  return bytes;
}

export function decodeZeroUnits(payload: Buffer): ZeroUnitsFrame {
  if (payload.length < ZERO_HEAD_BYTES) throw broken('is too short');
  const count = payload.readUInt16BE(1);
  if (count > MAX_ZERO_RUNS || payload.length !== ZERO_HEAD_BYTES + count * RUN_BYTES) {
    throw broken('does not hold the runs that it announces');
  }
  const runs = Array.from({ length: count }, (_, index) => ({
    first: payload.readUInt32BE(ZERO_HEAD_BYTES + index * RUN_BYTES),
    count: payload.readUInt32BE(ZERO_HEAD_BYTES + index * RUN_BYTES + 4),
  }));
  return { kind: 'zero-units', area: payload.readUInt8(0), runs };
}

/** Rising units as runs of neighbours. */
export function runsOf(units: readonly number[]): readonly UnitRun[] {
  const runs: { first: number; count: number }[] = [];
  for (const unit of units) {
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === unit) last.count += 1;
    else runs.push({ first: unit, count: 1 });
  }
  return runs;
}

function broken(why: string): PeerProtocolError {
  return new PeerProtocolError(`The peer sent a frame of content that ${why}.`);
}
