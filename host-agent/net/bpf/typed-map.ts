/** Maps whose keys and values have a shape. Every method but `all` is one or a few system calls. */
import { readFileSync } from 'node:fs';
import { BpfObjectError } from './bpf-errors.ts';
import {
  addEntry,
  deleteEntry,
  listKeys,
  lookupEntry,
  readBatches,
  updateEntry,
} from './kernel-map.ts';
import type { Fields, Layout, Values } from './layout.ts';
import type { MapSet, OpenMap } from './programs.ts';

export interface TypedMap<K, V> {
  get(key: K): V | undefined;
  set(key: K, value: V): void;
  /** False: there was an entry, which stays. */
  add(key: K, value: V): boolean;
  /** False: there was none. */
  delete(key: K): boolean;
  keys(): readonly K[];
  /** For large hash maps: in batches; what comes or goes meanwhile may be missing. */
  all(): Generator<readonly [K, V]>;
}

export function typedMap<K extends Fields, V extends Fields>(
  { fd, definition }: OpenMap,
  key: Layout<K>,
  value: Layout<V>,
): TypedMap<Values<K>, Values<V>> {
  return {
    get: (wanted) => {
      const bytes = Buffer.alloc(value.bytes);
      return lookupEntry(fd, key.encode(wanted), bytes) ? value.decode(bytes) : undefined;
    },
    set: (wanted, to) => updateEntry(fd, key.encode(wanted), value.encode(to)),
    add: (wanted, to) => addEntry(fd, key.encode(wanted), value.encode(to)),
    delete: (wanted) => deleteEntry(fd, key.encode(wanted)),
    keys: () => listKeys(fd, definition).map((bytes) => key.decode(bytes)),
    *all() {
      for (const [k, v] of readBatches(fd, definition)) yield [key.decode(k), value.decode(v)];
    },
  };
}

/** A map with one value per CPU, all of them u64 counters, read as their sums. */
export interface CounterMap<K, V> {
  /** Zeroes, if there is no entry. */
  ensure(key: K): void;
  sum(key: K): V | undefined;
  delete(key: K): boolean;
}

export function counterMap<K extends Fields, V extends Fields>(
  { fd }: OpenMap,
  key: Layout<K>,
  value: Layout<V>,
): CounterMap<Values<K>, Values<V>> {
  const cpus = possibleCpus();
  return {
    ensure: (wanted) => {
      addEntry(fd, key.encode(wanted), Buffer.alloc(value.bytes * cpus));
    },
    sum: (wanted) => {
      const bytes = Buffer.alloc(value.bytes * cpus);
      if (!lookupEntry(fd, key.encode(wanted), bytes)) return undefined;
      return value.decode(sumParts(bytes, value.bytes));
    },
    delete: (wanted) => deleteEntry(fd, key.encode(wanted)),
  };
}

function sumParts(bytes: Buffer, partBytes: number): Buffer {
  const sum = Buffer.alloc(partBytes);
  for (let at = 0; at < bytes.length; at += 8) {
    const total = sum.readBigUInt64LE(at % partBytes) + bytes.readBigUInt64LE(at);
    sum.writeBigUInt64LE(total, at % partBytes);
  }
  return sum;
}

/** The kernel gives values for every CPU that there could be: `0-7` is eight. */
function possibleCpus(): number {
  const text = readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim();
  return Number(text.split(/[-,]/).at(-1)) + 1;
}

export function mapNamed(maps: MapSet, name: string): OpenMap {
  const map = maps.get(name);
  if (map === undefined) throw new BpfObjectError(`The objects have no map ${name}.`);
  return map;
}
