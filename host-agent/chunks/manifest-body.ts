/**
 * The body of a manifest in bytes. Integers are LEB128, names are lengths and bytes:
 *
 *   length, JSON: facts, names and sizes │ count, references (each chunk once) │ runs of each memory
 *   block, of the disk │ count, device state │ count, prologue (as numbers of references)
 *
 * A reference is name, number of its pack in the header's list, offset, two lengths. A run is
 * `count * 4 + kind`; a run of chunks is followed by their numbers, as distance from the one before.
 */
import { z } from 'zod';
import { ByteReader, ByteWriter } from './bytes.ts';
import { CHUNK_BYTES, type ChunkRef, MAX_SEALED_BYTES, NAME_BYTES } from './chunk-codec.ts';
import { type Entries, type EntryRun, rangeCount, runLength } from './entries.ts';
import type { Manifest } from './manifest.ts';
import { PACK_MAX_BYTES } from './pack.ts';

const MAX_JSON_BYTES = 1024 * 1024;
const MAX_BLOCKS = 256;
const MAX_REFS = 1 << 25;
/** 16 TiB: beyond any machine or disk here. */
const MAX_SIZE_BYTES = 2 ** 44;
const KINDS = ['zero', 'base', 'chunks'] as const;

type Body = Pick<Manifest, 'facts' | 'memory' | 'disk' | 'deviceState' | 'prologue'>;

const SizeBytes = z.int().min(0).max(MAX_SIZE_BYTES);
const Described = z.object({
  facts: z.json(),
  memory: z.array(z.object({ name: z.string().max(256), sizeBytes: SizeBytes })).max(MAX_BLOCKS),
  diskBytes: SizeBytes,
});

export function encodeBody(body: Body, packs: readonly string[]): Buffer {
  const writer = new ByteWriter();
  const described = Buffer.from(
    JSON.stringify({
      facts: body.facts,
      memory: body.memory.map(({ name, sizeBytes }) => ({ name, sizeBytes })),
      diskBytes: body.disk.sizeBytes,
    }),
  );
  writer.varint(described.length);
  writer.bytes(described);
  const numbers = writeRefs(writer, body, packs);
  for (const { entries } of [...body.memory, body.disk]) writeEntries(writer, entries, numbers);
  for (const list of [body.deviceState, body.prologue]) {
    writer.varint(list.length);
    writeNumbers(writer, list, numbers);
  }
  return writer.finish();
}

/** Throws RangeError, SyntaxError or ZodError for what `encodeBody` did not write. */
export function decodeBody(bytes: Buffer, packs: readonly string[]): Body {
  const reader = new ByteReader(bytes);
  const json = reader.bytes(reader.varint(MAX_JSON_BYTES));
  const { facts, memory, diskBytes } = Described.parse(JSON.parse(json.toString()));
  const refs = readRefs(reader, packs);
  const body = {
    facts,
    memory: memory.map((block) => ({ ...block, entries: readEntries(reader, block, refs) })),
    disk: { sizeBytes: diskBytes, entries: readEntries(reader, { sizeBytes: diskBytes }, refs) },
    deviceState: readNumbers(reader, reader.varint(), refs),
    prologue: readNumbers(reader, reader.varint(), refs),
  };
  if (reader.left > 0) throw new RangeError('the body goes on');
  return body;
}

function writeRefs(
  writer: ByteWriter,
  body: Body,
  packs: readonly string[],
): ReadonlyMap<string, number> {
  const packNumbers = new Map(packs.map((pack, number) => [pack, number]));
  const refs = new Map<string, ChunkRef>();
  for (const ref of eachBodyRef(body)) refs.set(placeOf(ref), ref);
  writer.varint(refs.size);
  for (const { name, pack, offset, length, size } of refs.values()) {
    writer.bytes(Buffer.from(name, 'base64url'));
    writer.varint(packNumbers.get(pack) ?? packs.length);
    writer.varint(offset);
    writer.varint(length);
    writer.varint(size);
  }
  return new Map([...refs.keys()].map((place, number) => [place, number]));
}

function readRefs(reader: ByteReader, packs: readonly string[]): ChunkRef[] {
  const count = reader.varint(Math.min(MAX_REFS, Math.floor(reader.left / NAME_BYTES)));
  return Array.from({ length: count }, () => {
    const name = reader.bytes(NAME_BYTES).toString('base64url');
    const pack = packs[reader.varint(packs.length)];
    if (pack === undefined) throw new RangeError('a pack that the header does not list');
    const offset = reader.varint(PACK_MAX_BYTES);
    return { name, pack, offset, length: reader.varint(MAX_SEALED_BYTES), size: readSize(reader) };
  });
}

function readSize(reader: ByteReader): number {
  const size = reader.varint(CHUNK_BYTES);
  if (size === 0) throw new RangeError('an empty chunk');
  return size;
}

function writeEntries(
  writer: ByteWriter,
  entries: Entries,
  numbers: ReadonlyMap<string, number>,
): void {
  for (const run of entries) {
    writer.varint(runLength(run) * 4 + KINDS.indexOf(run.kind));
    if (run.kind === 'chunks') writeNumbers(writer, run.refs, numbers);
  }
}

function readEntries(
  reader: ByteReader,
  { sizeBytes }: { readonly sizeBytes: number },
  refs: readonly ChunkRef[],
): Entries {
  const runs: EntryRun[] = [];
  for (let left = rangeCount(sizeBytes); left > 0; ) {
    const head = reader.varint(left * 4 + 3);
    const count = Math.floor(head / 4);
    const kind = KINDS[head % 4];
    if (count === 0 || count > left || kind === undefined) throw new RangeError('no such run');
    if (kind === 'chunks') runs.push({ kind, refs: readNumbers(reader, count, refs) });
    else runs.push({ kind, count });
    left -= count;
  }
  return runs;
}

/** Chunks mostly follow one another, so most distances are 1: even numbers go up, odd ones down. */
function writeNumbers(
  writer: ByteWriter,
  refs: readonly ChunkRef[],
  numbers: ReadonlyMap<string, number>,
): void {
  let before = 0;
  for (const ref of refs) {
    const number = numbers.get(placeOf(ref)) ?? 0;
    const distance = number - before;
    writer.varint(distance >= 0 ? distance * 2 : -distance * 2 - 1);
    before = number;
  }
}

function readNumbers(reader: ByteReader, count: number, refs: readonly ChunkRef[]): ChunkRef[] {
  if (count > reader.left) throw new RangeError('more chunks than bytes');
  let number = 0;
  return Array.from({ length: count }, () => {
    const coded = reader.varint(refs.length * 2);
    number += coded % 2 === 0 ? coded / 2 : -(coded + 1) / 2;
    const ref = refs[number];
    if (ref === undefined) throw new RangeError('no such chunk');
    return ref;
  });
}

function* eachBodyRef({ memory, disk, deviceState, prologue }: Body): Generator<ChunkRef> {
  for (const { entries } of [...memory, disk]) {
    for (const run of entries) if (run.kind === 'chunks') yield* run.refs;
  }
  yield* deviceState;
  yield* prologue;
}

/** Two places may hold chunks of one name: the older may be about to be collected. */
function placeOf({ pack, offset }: ChunkRef): string {
  return `${pack}${offset}`;
}
