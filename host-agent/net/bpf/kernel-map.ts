/** BPF maps by descriptor: raw keys and values. `typed-map.ts` gives them a shape. */
import { attributes, BPF, bpf, EEXIST, ENOENT, ENOSPC, kernelRefused, tryBpf } from './kernel.ts';

/** As `struct map_definition` of bpf/program.h. */
export interface MapDefinition {
  readonly type: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly flags: number;
}

const NAME_CHARACTERS = 15;
/** BPF_NOEXIST. */
const ONLY_NEW = 1;
const INFO_BYTES = 80;
const BATCH_ENTRIES = 4096;

export function createMap(name: string, map: MapDefinition): number {
  const encoded = attributes(
    [0, map.type],
    [4, map.keyBytes],
    [8, map.valueBytes],
    [12, map.maxEntries],
    [16, map.flags],
  );
  encoded.write(name.slice(0, NAME_CHARACTERS), 28, 'latin1');
  return bpf(BPF.mapCreate, encoded, `create the map ${name}`);
}

export function describeMap(fd: number): {
  readonly name: string;
  readonly definition: MapDefinition;
} {
  const info = Buffer.alloc(INFO_BYTES);
  bpf(BPF.info, attributes([0, fd], [4, info.length], [8, info]), 'describe a map');
  const [type, keyBytes, valueBytes] = [0, 8, 12].map((at) => info.readUInt32LE(at));
  const [maxEntries, flags] = [16, 20].map((at) => info.readUInt32LE(at));
  const definition = {
    type: type ?? 0,
    keyBytes: keyBytes ?? 0,
    valueBytes: valueBytes ?? 0,
    maxEntries: maxEntries ?? 0,
    flags: flags ?? 0,
  };
  return { name: info.toString('latin1', 24, info.indexOf(0, 24)), definition };
}

/** One system call: a program sees the old value or the new one. */
export function updateEntry(fd: number, key: Buffer, value: Buffer): void {
  bpf(BPF.mapUpdate, attributes([0, fd], [8, key], [16, value]), 'update a map');
}

/** False: there is an entry already, which stays. */
export function addEntry(fd: number, key: Buffer, value: Buffer): boolean {
  const encoded = attributes([0, fd], [8, key], [16, value], [24, ONLY_NEW]);
  const result = tryBpf(BPF.mapUpdate, encoded);
  if (result < 0 && result !== -EEXIST) throw kernelRefused('add to a map', -result);
  return result === 0;
}

/** Fills `value`; false: no such entry. */
export function lookupEntry(fd: number, key: Buffer, value: Buffer): boolean {
  return found(tryBpf(BPF.mapLookup, attributes([0, fd], [8, key], [16, value])), 'read a map');
}

/** False: there was none. */
export function deleteEntry(fd: number, key: Buffer): boolean {
  return found(tryBpf(BPF.mapDelete, attributes([0, fd], [8, key])), 'delete from a map');
}

/** All keys at this moment. The map's size bounds it, even when programs write meanwhile. */
export function listKeys(fd: number, { keyBytes, maxEntries }: MapDefinition): Buffer[] {
  const keys: Buffer[] = [];
  let previous = Buffer.alloc(0);
  while (keys.length < maxEntries) {
    const next = Buffer.alloc(keyBytes);
    const encoded = attributes([0, fd], [8, previous], [16, next]);
    if (!found(tryBpf(BPF.mapNextKey, encoded), 'list a map')) return keys;
    keys.push(next);
    previous = next;
  }
  return keys;
}

/**
 * Keys and values of a (LRU) hash map, some thousand with each call, for maps that are large.
 * Entries that come or go meanwhile may be missing.
 */
export function* readBatches(
  fd: number,
  map: MapDefinition,
): Generator<readonly [key: Buffer, value: Buffer]> {
  let place = Buffer.alloc(0);
  for (let read = 0; read <= map.maxEntries; ) {
    const batch = readBatch(fd, map, place);
    yield* batch.entries;
    if (batch.last) return;
    read += batch.entries.length;
    place = batch.next;
  }
}

function readBatch(fd: number, { keyBytes, valueBytes }: MapDefinition, place: Buffer) {
  const next = Buffer.alloc(Math.max(4, keyBytes));
  const keys = Buffer.alloc(BATCH_ENTRIES * keyBytes);
  const values = Buffer.alloc(BATCH_ENTRIES * valueBytes);
  const encoded = attributes(
    [0, place],
    [8, next],
    [16, keys],
    [24, values],
    [32, BATCH_ENTRIES],
    [36, fd],
  );
  const result = tryBpf(BPF.mapLookupBatch, encoded);
  if (result < 0 && result !== -ENOENT && result !== -ENOSPC) {
    throw kernelRefused('read a map', -result);
  }
  const entries = Array.from({ length: encoded.readUInt32LE(32) }, (_, n) => {
    const key = keys.subarray(n * keyBytes, (n + 1) * keyBytes);
    return [key, values.subarray(n * valueBytes, (n + 1) * valueBytes)] as const;
  });
  return { entries, next, last: result === -ENOENT };
}

function found(result: number, doing: string): boolean {
  if (result < 0 && result !== -ENOENT) throw kernelRefused(doing, -result);
  return result >= 0;
}
