/**
 * A qcow2 overlay written by the agent, before QEMU has it: what a VM wrote on its last host.
 *
 *   create (empty, valid) → writeCluster | zeroCluster | flush … → finish → QEMU activates it
 *
 * A target's QEMU waits in `-incoming` with this file open and inactive: it reads the tables anew when
 * the migration completes (qcow2_co_invalidate_cache), which must not be before `finish` has settled.
 *
 * Invariants: where things are follows from the disk's size (qcow2-layout.ts); an L2 entry is written
 * after its data and its refcount, so a reader sees the old cluster or the new one; QEMU writes
 * nothing before `finish`, and this file nothing after it.
 *
 * Nothing is synced: QEMU reads through the same page cache, and a host that dies takes its VMs with
 * it; they come back from a checkpoint, never from this file. The `fsync` would be blackout.
 */
import { type FileHandle, open, rm } from 'node:fs/promises';
import { CLUSTER_BYTES, clustersIn } from './cluster.ts';
import { OverlayFileError } from './disk-errors.ts';
import { writeAll } from './file-write.ts';
import {
  encodeHeader,
  encodeL1,
  encodeL2Entry,
  encodeMetadataRefcounts,
  encodeRefcountTable,
  planLayout,
  type Qcow2Layout,
  REFCOUNT_BYTES,
} from './qcow2-layout.ts';
import { SparseTables } from './sparse-tables.ts';

const ENTRY_BYTES = 8;

export class OverlayFile {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #layout: Qcow2Layout;
  readonly #refcounts: SparseTables;
  readonly #l2: SparseTables;
  #isClosed = false;

  private constructor(path: string, file: FileHandle, layout: Qcow2Layout) {
    this.path = path;
    this.#file = file;
    this.#layout = layout;
    this.#refcounts = new SparseTables(layout.refcountBlocksOffset);
    this.#l2 = new SparseTables(layout.l2Offset);
  }

  /**
   * An overlay in which nothing is written, in a new file of mode 0600 that the caller gives to
   * QEMU's user. `sizeBytes`: the guest's disk. Rejects with OverlayFileError.
   */
  static async create({
    path,
    sizeBytes,
  }: {
    readonly path: string;
    readonly sizeBytes: number;
  }): Promise<OverlayFile> {
    const layout = planLayout(sizeBytes);
    try {
      await rm(path, { force: true });
      const overlay = new OverlayFile(path, await open(path, 'wx', 0o600), layout);
      await overlay.#writeFirst().catch(async (error) => {
        await overlay.close();
        throw error;
      });
      return overlay;
    } catch (cause) {
      throw failure('created', cause);
    }
  }

  /** One cluster or a run of them. Rejects with OverlayFileError. */
  async writeCluster(cluster: number, content: Buffer): Promise<void> {
    const { sizeBytes, dataOffset } = this.#layout;
    const count = clustersIn(sizeBytes, { cluster, length: content.length });
    await this.#attempt(() => writeAll(this.#file, content, dataOffset + cluster * CLUSTER_BYTES));
    for (let at = cluster; at < cluster + count; at += 1) this.#setEntry(at, 'own');
  }

  /** The guest reads zeroes there, whatever the template has. */
  zeroCluster(cluster: number): void {
    clustersIn(this.#layout.sizeBytes, { cluster, length: this.#lengthOf(cluster) });
    this.#setEntry(cluster, 'zero');
  }

  /** Writes the tables' entries that are still missing, so that `finish` has less to do. */
  async flush(): Promise<void> {
    await this.#attempt(async () => {
      await this.#refcounts.flush(this.#file);
      await this.#l2.flush(this.#file);
    });
  }

  /** Completes and closes the file; it is closed also when this rejects with OverlayFileError. */
  async finish(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.close();
    }
  }

  /** Gives the file up as it is. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#file.close();
  }

  async #writeFirst(): Promise<void> {
    const layout = this.#layout;
    // The full size at once: a QEMU that has the file open need not notice that it grows.
    await this.#file.truncate(layout.fileBytes);
    const parts: readonly (readonly [Buffer, number])[] = [
      [encodeMetadataRefcounts(layout), layout.refcountBlocksOffset],
      [encodeRefcountTable(layout), layout.refcountTableOffset],
      [encodeL1(layout), layout.l1Offset],
      [encodeHeader(layout), 0],
    ];
    for (const [bytes, position] of parts) await writeAll(this.#file, bytes, position);
  }

  #setEntry(cluster: number, state: 'zero' | 'own'): void {
    const entry = Buffer.alloc(ENTRY_BYTES);
    entry.writeBigUInt64BE(encodeL2Entry(this.#layout, cluster, state));
    const count = Buffer.alloc(REFCOUNT_BYTES);
    count.writeUInt16BE(state === 'own' ? 1 : 0);
    const place = this.#layout.dataOffset / CLUSTER_BYTES + cluster;
    this.#refcounts.write(place * REFCOUNT_BYTES, count);
    this.#l2.write(cluster * ENTRY_BYTES, entry);
  }

  #lengthOf(cluster: number): number {
    return Math.min(CLUSTER_BYTES, this.#layout.sizeBytes - cluster * CLUSTER_BYTES);
  }

  async #attempt(effect: () => Promise<void>): Promise<void> {
    try {
      await effect();
    } catch (cause) {
      throw failure('written', cause);
    }
  }
}

function failure(what: string, cause: unknown): OverlayFileError {
  const message = `A VM's disk could not be ${what}; is the host's disk full?`;
  return new OverlayFileError(message, { cause });
}
