/**
 * What the two agents of a move say to each other.
 *
 *   source                                   target
 *     hello ───────────────────────────────▶   who, which move, the credential
 *     ◀─────────────────────────────── welcome | refuse
 *     machine ─────────────────────────────▶   blocks, disk, what QEMU has to be told first
 *     ◀───────────────────────────────── ready   its images are there
 *     layout … ────────────────────────────▶   what is where, each range once
 *     units | zero-units … ────────────────▶   content; the last word on a unit counts
 *     ◀─────────────────── missing | progress   ranges that the store did not give
 *     settle ──────────────────────────────▶   is all of that where it belongs, QEMU included?
 *     ◀─────────────────────────────── settled   it is, and nothing is awaited from the store
 *     device-state …, end ─────────────────▶   end again for what was missing after it
 *     ◀──────────────────────────────── loaded
 *     ◀── token ──▶                            journalled hand-over (protocol/token-messages.ts)
 *     ◀── abort ──▶                            either side gives up and says why
 *     ◀── ping ───▶                            still here
 *
 * An *area* is one memory block, by its index, or the disk (DISK_AREA). A *unit* is what changes as
 * one: a page of a block, a cluster of the disk. A *range* is 64 KiB of an area.
 */
import { z } from 'zod';
import { MigrationId, VmId } from '../../protocol/ids.ts';
import { MigrationCredential } from '../../protocol/migration-messages.ts';
import { allocateFrame, HEAD_BYTES, type RawFrame } from './frame-codec.ts';
import { PeerProtocolError } from './peer-errors.ts';
import {
  decodeUnits,
  decodeZeroUnits,
  encodeUnits,
  encodeZeroUnits,
  type UnitsFrame,
  type ZeroUnitsFrame,
} from './unit-frames.ts';

export const PEER_PROTOCOL_VERSION = 1;
/** Of a payload: the content of one frame (unit-frames.ts) and its list of units. */
export const MAX_PAYLOAD_BYTES = 4 * 1024 * 1024 + 64 * 1024;
/** Before the other side has proven who it is. */
export const MAX_HELLO_BYTES = 4096;
export const MAX_DEVICE_STATE_BYTES = 64 * 1024 * 1024;
export const DEVICE_STATE_PIECE_BYTES = 1024 * 1024;
/** Of one layout frame. */
export const MAX_LAYOUT_RANGES = 4096;
export const DISK_AREA = 255;

const MAX_BLOCKS = 64;
const MAX_WHY = 500;
const MAX_UNITS = 2 ** 32 - 1;
const Count = z.int().min(0);
const Area = z.int().min(0).max(DISK_AREA);
const Why = z.object({ why: z.string().max(MAX_WHY) });

export const Hello = z.object({
  protocol: z.int().min(1),
  migrationId: MigrationId,
  vmId: VmId,
  credential: MigrationCredential,
});
export type Hello = Readonly<z.infer<typeof Hello>>;

export const Machine = z.object({
  blocks: z
    .array(z.object({ name: z.string().min(1).max(255), sizeBytes: z.int().min(1) }))
    .min(1)
    .max(MAX_BLOCKS),
  /** Base64: header, configuration and start of `ram` as the source's QEMU sent them. */
  prologue: z.base64().max(128 * 1024),
  ramSectionId: z.int().min(0).max(MAX_UNITS),
  diskBytes: Count,
  /** For the receiving sequence; not looked at here. */
  facts: z.json(),
});
export type Machine = Readonly<z.infer<typeof Machine>>;

const RunCount = z.int().min(1).max(MAX_LAYOUT_RANGES);

/** A chunk of the store: name, pack, offset and length in it, size of the content. */
const WireRef = z.tuple([z.string().max(64), z.string().max(64), Count, Count, Count]);

/** A run of ranges that are alike. */
export const LayoutRun = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('base'), count: RunCount }),
  z.object({ kind: z.literal('zero'), count: RunCount }),
  z.object({ kind: z.literal('peer'), count: RunCount }),
  z.object({
    kind: z.literal('chunks'),
    refs: z.array(WireRef).min(1).max(MAX_LAYOUT_RANGES),
  }),
]);
export type LayoutRun = z.infer<typeof LayoutRun>;

export const LayoutBatch = z.object({
  area: Area,
  /** The range that the first run begins with. */
  first: Count,
  runs: z.array(LayoutRun).min(1).max(MAX_LAYOUT_RANGES),
});
export type LayoutBatch = Readonly<z.infer<typeof LayoutBatch>>;

export const Missing = z.object({
  area: Area,
  ranges: z.array(Count).min(1).max(MAX_LAYOUT_RANGES),
});
export type Missing = Readonly<z.infer<typeof Missing>>;

export const Progress = z.object({
  receivedBytes: Count,
  fromStoreBytes: Count,
  /** Ranges still awaited from the store. */
  storeRangesLeft: Count,
});
export type Progress = Readonly<z.infer<typeof Progress>>;

/** All that was sent since the beginning, so that nothing is believed to be there that is not. */
export const End = z.object({
  units: Count,
  zeroUnits: Count,
  deviceStateBytes: Count,
  /** How many ranges of `missing` are answered with it. */
  answeredRanges: Count,
});
export type End = Readonly<z.infer<typeof End>>;

const JsonFrame = z.discriminatedUnion('kind', [
  Hello.extend({ kind: z.literal('hello') }),
  z.object({ kind: z.literal('welcome') }),
  Why.extend({ kind: z.literal('refuse') }),
  Machine.extend({ kind: z.literal('machine') }),
  z.object({ kind: z.literal('ready') }),
  LayoutBatch.extend({ kind: z.literal('layout') }),
  Missing.extend({ kind: z.literal('missing') }),
  Progress.extend({ kind: z.literal('progress') }),
  z.object({ kind: z.literal('settle') }),
  z.object({ kind: z.literal('settled') }),
  End.extend({ kind: z.literal('end') }),
  z.object({ kind: z.literal('loaded') }),
  z.object({ kind: z.literal('token'), message: z.json() }),
  Why.extend({ kind: z.literal('abort') }),
  z.object({ kind: z.literal('ping') }),
]);
export type JsonFrame = Readonly<z.infer<typeof JsonFrame>>;

/** What a frame's type says of its payload. */
const JSON_TEXT = 1;
const UNITS = 2;
const ZERO_UNITS = 3;
const DEVICE_STATE = 4;

export interface DeviceStateFrame {
  readonly kind: 'device-state';
  readonly piece: Buffer;
}

export type PeerFrame = JsonFrame | UnitsFrame | ZeroUnitsFrame | DeviceStateFrame;
export type { UnitsFrame, ZeroUnitsFrame };

/** The whole frame as it goes over the wire. */
export function encodeFrame(frame: PeerFrame): Buffer {
  if (frame.kind === 'units') return encodeUnits(UNITS, frame);
  if (frame.kind === 'zero-units') return encodeZeroUnits(ZERO_UNITS, frame);
  if (frame.kind === 'device-state') {
    const bytes = allocateFrame(DEVICE_STATE, frame.piece.length);
    frame.piece.copy(bytes, HEAD_BYTES);
    return bytes;
  }
  const payload = Buffer.from(JSON.stringify(frame), 'utf8');
  const bytes = allocateFrame(JSON_TEXT, payload.length);
  payload.copy(bytes, HEAD_BYTES);
  return bytes;
}

/** Throws PeerProtocolError for whatever is no frame of this version. */
export function decodeFrame({ type, payload }: RawFrame): PeerFrame {
  if (type === UNITS) return decodeUnits(payload);
  if (type === ZERO_UNITS) return decodeZeroUnits(payload);
  if (type === DEVICE_STATE) return { kind: 'device-state', piece: payload };
  if (type === JSON_TEXT) return decodeJson(payload);
  throw new PeerProtocolError(`The peer sent a frame of type ${type}, which is none.`);
}

/** A sentence that fits into a frame. */
export function shorten(why: string): string {
  return why.slice(0, MAX_WHY);
}

function decodeJson(payload: Buffer): JsonFrame {
  const parsed = JsonFrame.safeParse(parseJson(payload));
  if (parsed.success) return parsed.data;
  const places = parsed.error.issues.map((issue) => issue.path.join('.') || 'its shape');
  throw new PeerProtocolError(`The peer's frame is wrong at ${shorten(places.join(', '))}.`);
}

function parseJson(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString('utf8'));
  } catch (cause) {
    throw new PeerProtocolError('The peer sent a frame that is not JSON.', { cause });
  }
}
