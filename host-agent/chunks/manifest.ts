/**
 * A manifest is one consistent point of a VM: machine facts, memory, disk, device state.
 *
 *   magic 8 │ length of the header u32 │ header, JSON, in the clear │ box: zstd body under the VM's key
 *
 * The header is authenticated with the body. In the clear it has what is needed without the VM's key:
 * whose it is, the key itself wrapped under the control plane's master key, and the packs that it
 * names, by which garbage collection knows what lives. The body is coded in manifest-body.ts.
 */
import { z } from 'zod';
import { JobId, VmId } from '../protocol/ids.ts';
import type { ChunkCodec, ChunkRef } from './chunk-codec.ts';
import { ManifestDamagedError } from './chunk-errors.ts';
import { type Entries, eachRef, entryCount, rangeCount } from './entries.ts';
import { decodeBody, encodeBody } from './manifest-body.ts';

export const MANIFEST_FORMAT = 1;
const MIB = 1024 * 1024;
/** A 1 TiB VM of which everything is a chunk of its own has about 500 MB of references. */
export const MAX_MANIFEST_BYTES = 512 * MIB;
export const MAX_HEADER_BYTES = 4 * MIB;
const MAX_BODY_BYTES = 1024 * MIB;
const MAX_PACKS = 100_000;
const MAX_WRAPPED_KEY_CHARS = 4096;

const MAGIC = Buffer.from('ARCMANI1');
/** Magic and the header's length: where the header begins. */
export const MANIFEST_PREFIX_BYTES = MAGIC.length + 4;

export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** Newer is a higher epoch, then a higher generation within it. */
export interface Point {
  readonly epoch: number;
  readonly generation: number;
}

export interface MemoryBlockMap {
  /** QEMU's name of the RAM block. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly entries: Entries;
}

export interface DiskMap {
  readonly sizeBytes: number;
  readonly entries: Entries;
}

export interface ManifestHead extends Point {
  readonly vmId: VmId;
  readonly jobId: JobId | null;
  readonly createdAtMs: number;
  /** The VM's key under the control plane's master key, base64; opaque here. */
  readonly wrappedKey: string;
}

export interface Manifest extends ManifestHead {
  readonly format: typeof MANIFEST_FORMAT;
  /** Machine facts, class, pool, hashes of bases; opaque here. */
  readonly facts: JsonValue;
  readonly memory: readonly MemoryBlockMap[];
  readonly disk: DiskMap;
  /** What follows memory in QEMU's stream, cut into chunks in order. */
  readonly deviceState: readonly ChunkRef[];
  /** What precedes memory in QEMU's stream, cut into chunks in order. */
  readonly prologue: readonly ChunkRef[];
}

const Counter = z.int().min(0);

const ManifestHeader = z.object({
  format: z.literal(MANIFEST_FORMAT),
  vmId: VmId,
  jobId: JobId.nullable(),
  epoch: Counter,
  generation: Counter,
  createdAtMs: Counter,
  wrappedKey: z.base64().max(MAX_WRAPPED_KEY_CHARS),
  /** Every pack that the body names, each once. */
  packs: z.array(z.string().regex(/^[0-9a-f]{32}$/)).max(MAX_PACKS),
  bodyBytes: z.int().min(1).max(MAX_BODY_BYTES),
});
export type ManifestHeader = Readonly<z.infer<typeof ManifestHeader>>;

export function isNewer(a: Point, b: Point): boolean {
  return a.epoch === b.epoch ? a.generation > b.generation : a.epoch > b.epoch;
}

export function* eachManifestRef(manifest: Manifest): Generator<ChunkRef> {
  for (const { entries } of manifest.memory) yield* eachRef(entries);
  yield* eachRef(manifest.disk.entries);
  yield* manifest.deviceState;
  yield* manifest.prologue;
}

/** Each pack that the manifest names, once, in order of first use. */
export function packsOf(manifest: Manifest): Set<string> {
  const packs = new Set<string>();
  for (const { pack } of eachManifestRef(manifest)) packs.add(pack);
  return packs;
}

/** Throws RangeError when its entries do not cover exactly what they describe: a fault of the caller. */
export function encodeManifest(codec: ChunkCodec, manifest: Manifest): Buffer {
  for (const { sizeBytes, entries } of [...manifest.memory, manifest.disk]) {
    if (entryCount(entries) !== rangeCount(sizeBytes)) {
      throw new RangeError(`entries for ${entryCount(entries)} ranges of ${sizeBytes} bytes`);
    }
  }
  const packs = [...packsOf(manifest)];
  const body = encodeBody(manifest, packs);
  const { format, vmId, jobId, epoch, generation, createdAtMs, wrappedKey } = manifest;
  const clear = { format, vmId, jobId, epoch, generation, createdAtMs, wrappedKey };
  const header = ManifestHeader.parse({ ...clear, packs, bodyBytes: body.length });
  const headerBytes = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(MANIFEST_PREFIX_BYTES);
  MAGIC.copy(prefix);
  prefix.writeUInt32BE(headerBytes.length, MAGIC.length);
  return Buffer.concat([prefix, headerBytes, codec.sealManifest(headerBytes, body)]);
}

/** Whole, and of this VM and epoch when they are given; throws ManifestDamagedError. */
export function decodeManifest(
  codec: ChunkCodec,
  bytes: Buffer,
  expected: { readonly vmId: VmId; readonly epoch?: number },
): Manifest {
  if (bytes.length > MAX_MANIFEST_BYTES) throw damaged('is too large');
  const { headerBytes, header } = splitHeader(bytes);
  if (header.vmId !== expected.vmId) throw damaged('belongs to another VM');
  if (expected.epoch !== undefined && header.epoch !== expected.epoch) {
    throw damaged('is of another epoch');
  }
  const box = bytes.subarray(MANIFEST_PREFIX_BYTES + headerBytes.length);
  const body = codec.openManifest(headerBytes, { box, sizeBytes: header.bodyBytes });
  if (body === undefined) throw damaged('is damaged, or its key is not this one');
  const { packs, bodyBytes: _, ...head } = header;
  try {
    return { ...head, ...decodeBody(body, packs) };
  } catch (cause) {
    throw damaged('does not follow its format', cause);
  }
}

/**
 * The clear part, which needs no key and is not authenticated. `bytes` may be just the beginning of a
 * manifest: answers how many bytes are needed when there are not enough. Throws ManifestDamagedError.
 */
export function readManifestHeader(
  bytes: Buffer,
): { readonly header: ManifestHeader } | { readonly neededBytes: number } {
  const needed = headerEnd(bytes);
  return bytes.length < needed ? { neededBytes: needed } : { header: splitHeader(bytes).header };
}

function splitHeader(bytes: Buffer): { headerBytes: Buffer; header: ManifestHeader } {
  const end = headerEnd(bytes);
  if (bytes.length < end) throw damaged('is cut short');
  const headerBytes = bytes.subarray(MANIFEST_PREFIX_BYTES, end);
  try {
    return { headerBytes, header: ManifestHeader.parse(JSON.parse(headerBytes.toString())) };
  } catch (cause) {
    throw damaged('has a header that does not follow its format', cause);
  }
}

function headerEnd(bytes: Buffer): number {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw damaged('is none of ours');
  if (bytes.length < MANIFEST_PREFIX_BYTES) throw damaged('is cut short');
  const length = bytes.readUInt32BE(MAGIC.length);
  if (length > MAX_HEADER_BYTES) throw damaged('has a header that is too large');
  return MANIFEST_PREFIX_BYTES + length;
}

function damaged(what: string, cause?: unknown): ManifestDamagedError {
  return new ManifestDamagedError(`A VM's manifest ${what}; the VM cannot start from it.`, {
    cause,
  });
}
