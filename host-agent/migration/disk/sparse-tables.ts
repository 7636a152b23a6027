/**
 * Tables of one cluster each, one behind the other in a file, of which only those exist in memory
 * that something was written to, and only what changed since then is written out.
 */
import type { FileHandle } from 'node:fs/promises';
import { CLUSTER_BYTES } from './cluster.ts';
import { writeAll } from './file-write.ts';

interface Table {
  readonly bytes: Buffer;
  /** What the file does not have yet. */
  dirty: { from: number; to: number } | undefined;
}

export class SparseTables {
  readonly #offset: number;
  readonly #tables = new Map<number, Table>();
  readonly #dirty = new Set<number>();

  /** `offset`: of the first table in the file, where there are only zeroes yet. */
  constructor(offset: number) {
    this.#offset = offset;
  }

  /** `at`: from the beginning of the first table. An entry lies in one table. */
  write(at: number, entry: Buffer): void {
    const index = Math.floor(at / CLUSTER_BYTES);
    const from = at % CLUSTER_BYTES;
    const to = from + entry.length;
    const table = this.#tables.get(index) ?? {
      bytes: Buffer.alloc(CLUSTER_BYTES),
      dirty: undefined,
    };
    entry.copy(table.bytes, from);
    const before = table.dirty ?? { from, to };
    table.dirty = { from: Math.min(before.from, from), to: Math.max(before.to, to) };
    this.#tables.set(index, table);
    this.#dirty.add(index);
  }

  /** Rejects with the system's error; the file is then not to be used. */
  async flush(file: FileHandle): Promise<void> {
    for (const index of [...this.#dirty]) {
      const table = this.#tables.get(index);
      const range = table?.dirty;
      this.#dirty.delete(index);
      if (table === undefined || range === undefined) continue;
      table.dirty = undefined;
      const bytes = table.bytes.subarray(range.from, range.to);
      await writeAll(file, bytes, this.#offset + index * CLUSTER_BYTES + range.from);
    }
  }
}
