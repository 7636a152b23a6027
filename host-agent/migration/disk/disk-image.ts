/**
 * The agent's copy of what one guest has written to its disk: a sparse file as large as the disk, and
 * for each cluster whether it is the template's, zero, or here.
 *
 *   base ──write──▶ own ◀──write── zero        nothing becomes `base` again
 *   base ──zero──▶ zero ◀──zero── own
 *
 * Invariants: a cluster's state says what it is, whatever the file holds there; a change is marked in
 * every ChangeSet after it is readable, so who takes a mark and then reads never keeps something old
 * for good (what is read beside a write may be torn, and is marked again when the write ends).
 *
 * The states live in memory only: an image is of no use to the next agent, which starts a new one
 * from the overlay. So nothing is synced, and the file may be large where zeroes were data before
 * (Node cannot punch holes). The pages of the file stay in the host's cache beside the overlay's
 * until the kernel needs them (nor is there posix_fadvise); they are clean after the write-back.
 */
import { type FileHandle, open, rm } from 'node:fs/promises';
import { ChangeSet } from '../image/change-set.ts';
import {
  CLUSTER_BYTES,
  type ClusterState,
  checkDiskSize,
  clustersIn,
  clustersOf,
} from './cluster.ts';
import { DiskImageError } from './disk-errors.ts';
import { writeAll } from './file-write.ts';

const STATES = ['base', 'zero', 'own'] as const satisfies readonly ClusterState[];
const ZERO = 1;
const OWN = 2;
/** Sealer and sender, and some to spare. */
const MAX_WATCHERS = 8;
const ZEROES = Buffer.alloc(CLUSTER_BYTES);

export class DiskImage {
  readonly sizeBytes: number;
  /** The last one is shorter where the size is no multiple of 64 KiB. */
  readonly clusters: number;
  readonly #file: FileHandle;
  readonly #states: Uint8Array;
  readonly #watchers = new Set<ChangeSet>();

  private constructor(file: FileHandle, sizeBytes: number) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
    this.clusters = clustersOf(sizeBytes);
    this.#states = new Uint8Array(this.clusters);
  }

  /** An image in which all is `base`, in a new file of mode 0600. Rejects with DiskImageError. */
  static async create({
    path,
    sizeBytes,
  }: {
    readonly path: string;
    readonly sizeBytes: number;
  }): Promise<DiskImage> {
    checkDiskSize(sizeBytes);
    try {
      await rm(path, { force: true });
      const file = await open(path, 'wx+', 0o600);
      await file.truncate(sizeBytes).catch(async (error) => {
        await file.close();
        throw error;
      });
      return new DiskImage(file, sizeBytes);
    } catch (cause) {
      throw new DiskImageError('The copy of a disk could not be created.', { cause });
    }
  }

  stateOf(cluster: number): ClusterState {
    return STATES[this.#states[cluster] ?? 0] ?? 'base';
  }

  /**
   * Takes one cluster or a run of them. What is zero in it becomes `zero`. Rejects with
   * DiskImageError; then nothing of the run is marked, and what was read before may be torn.
   */
  async write(cluster: number, content: Buffer): Promise<void> {
    const count = clustersIn(this.sizeBytes, { cluster, length: content.length });
    const states = Array.from({ length: count }, (_, at) =>
      isZero(content.subarray(at * CLUSTER_BYTES, (at + 1) * CLUSTER_BYTES)) ? ZERO : OWN,
    );
    let from = 0;
    for (let at = 0; at <= count; at += 1) {
      if (states[at] === OWN) continue;
      const bytes = content.subarray(from * CLUSTER_BYTES, at * CLUSTER_BYTES);
      if (bytes.length > 0) await this.#writeFile(cluster + from, bytes);
      from = at + 1;
    }
    for (const [at, state] of states.entries()) this.#set(cluster + at, state);
  }

  zero(cluster: number, count = 1): void {
    const length = Math.min(count * CLUSTER_BYTES, this.sizeBytes - cluster * CLUSTER_BYTES);
    if (clustersIn(this.sizeBytes, { cluster, length }) !== count) {
      throw new RangeError(`${count} clusters from ${cluster} on are not in this disk`);
    }
    for (let at = cluster; at < cluster + count; at += 1) this.#set(at, ZERO);
  }

  /**
   * One cluster or a run of them, none of which may be `base`: that content is not here (throws
   * RangeError). Rejects with DiskImageError.
   */
  async read(cluster: number, count = 1): Promise<Buffer> {
    const start = cluster * CLUSTER_BYTES;
    const length = Math.min(count * CLUSTER_BYTES, this.sizeBytes - start);
    clustersIn(this.sizeBytes, { cluster, length });
    const states = this.#states.subarray(cluster, cluster + count);
    if (states.includes(0)) throw new RangeError(`a cluster from ${cluster} on is the template's`);
    if (states.every((state) => state === ZERO)) return Buffer.alloc(length);
    const content = await this.#readFile(start, length);
    for (const [at, state] of states.entries()) {
      if (state === ZERO) content.fill(0, at * CLUSTER_BYTES, (at + 1) * CLUSTER_BYTES);
    }
    return content;
  }

  /** What changes from now on, and what is not `base` now. */
  watch(): ChangeSet {
    if (this.#watchers.size >= MAX_WATCHERS) throw new RangeError('too many watch one disk');
    const changes = new ChangeSet(this.clusters);
    for (const [cluster, state] of this.#states.entries()) if (state !== 0) changes.mark(cluster);
    this.#watchers.add(changes);
    return changes;
  }

  unwatch(changes: ChangeSet): void {
    this.#watchers.delete(changes);
  }

  /** The file stays; whoever made its folder removes it. */
  async close(): Promise<void> {
    await this.#file.close();
  }

  #set(cluster: number, state: number): void {
    this.#states[cluster] = state;
    for (const changes of this.#watchers) changes.mark(cluster);
  }

  async #writeFile(cluster: number, bytes: Buffer): Promise<void> {
    try {
      await writeAll(this.#file, bytes, cluster * CLUSTER_BYTES);
    } catch (cause) {
      const message = "A disk's copy could not be written; is the host's disk full?";
      throw new DiskImageError(message, { cause });
    }
  }

  async #readFile(position: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length);
    let done = 0;
    try {
      while (done < length) {
        const { bytesRead } = await this.#file.read(buffer, done, length - done, position + done);
        if (bytesRead === 0) throw new RangeError('the file is shorter than the disk');
        done += bytesRead;
      }
    } catch (cause) {
      throw new DiskImageError("A disk's copy could not be read.", { cause });
    }
    return buffer;
  }
}

function isZero(bytes: Buffer): boolean {
  return bytes[0] === 0 && ZEROES.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;
}
