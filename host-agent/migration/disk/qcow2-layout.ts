/**
 * Where everything is in an overlay that we write ourselves (QEMU docs/interop/qcow2.rst, version 3),
 * all of it known from the disk's size:
 *
 *   header │ L1 table │ refcount table │ refcount blocks │ L2 tables │ data of cluster 0, 1, 2 …
 *
 * Each part begins at a cluster. Every L2 table and refcount block there can be has its place, and the
 * guest's cluster n has the n-th place of the data, so nothing is ever allocated. What was never
 * written is a hole in the file with refcount 0: QEMU may later put any cluster there.
 */
import { CLUSTER_BYTES, checkDiskSize, clustersOf } from './cluster.ts';

const MAGIC = 0x514649fb;
const VERSION = 3;
const CLUSTER_BITS = 16;
const HEADER_BYTES = 104;
const REFCOUNT_ORDER = 4;
const ENTRY_BYTES = 8;
export const REFCOUNT_BYTES = 2;
/** Clusters that one L2 table maps, and that one refcount block counts. */
export const L2_ENTRIES = CLUSTER_BYTES / ENTRY_BYTES;
export const REFCOUNT_ENTRIES = CLUSTER_BYTES / REFCOUNT_BYTES;
/** The cluster or table is used once: QEMU may write to it in place. */
const COPIED = 1n << 63n;
const READS_AS_ZERO = 1n;

/** Offsets and lengths in bytes of the file. */
export interface Qcow2Layout {
  readonly sizeBytes: number;
  readonly l1Offset: number;
  readonly l2Tables: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly refcountBlocksOffset: number;
  readonly refcountBlocks: number;
  readonly l2Offset: number;
  readonly dataOffset: number;
  readonly fileBytes: number;
}

/** Throws RangeError for a size beyond 16 TiB. */
export function planLayout(sizeBytes: number): Qcow2Layout {
  checkDiskSize(sizeBytes);
  const dataClusters = clustersOf(sizeBytes);
  const l2Tables = Math.ceil(dataClusters / L2_ENTRIES);
  const l1Clusters = clustersOf(l2Tables * ENTRY_BYTES);
  const others = 1 + l1Clusters + l2Tables + dataClusters;
  const { refcountBlocks, refcountTableClusters } = planRefcounts(others);
  const refcountTableOffset = (1 + l1Clusters) * CLUSTER_BYTES;
  const refcountBlocksOffset = refcountTableOffset + refcountTableClusters * CLUSTER_BYTES;
  const l2Offset = refcountBlocksOffset + refcountBlocks * CLUSTER_BYTES;
  const dataOffset = l2Offset + l2Tables * CLUSTER_BYTES;
  return {
    sizeBytes,
    l1Offset: CLUSTER_BYTES,
    l2Tables,
    refcountTableOffset,
    refcountTableClusters,
    refcountBlocksOffset,
    refcountBlocks,
    l2Offset,
    dataOffset,
    fileBytes: dataOffset + dataClusters * CLUSTER_BYTES,
  };
}

/** Blocks count themselves and their table: grows until they do. */
function planRefcounts(others: number) {
  let refcountBlocks = 0;
  let refcountTableClusters = 1;
  for (;;) {
    const needed = Math.ceil((others + refcountBlocks + refcountTableClusters) / REFCOUNT_ENTRIES);
    if (needed <= refcountBlocks) return { refcountBlocks, refcountTableClusters };
    refcountBlocks = needed;
    refcountTableClusters = clustersOf(refcountBlocks * ENTRY_BYTES);
  }
}

/** Without a backing file's name: QEMU is told the chain when it starts. */
export function encodeHeader(layout: Qcow2Layout): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(MAGIC, 0);
  header.writeUInt32BE(VERSION, 4);
  header.writeUInt32BE(CLUSTER_BITS, 20);
  header.writeBigUInt64BE(BigInt(layout.sizeBytes), 24);
  header.writeUInt32BE(layout.l2Tables, 36);
  header.writeBigUInt64BE(BigInt(layout.l1Offset), 40);
  header.writeBigUInt64BE(BigInt(layout.refcountTableOffset), 48);
  header.writeUInt32BE(layout.refcountTableClusters, 56);
  header.writeUInt32BE(REFCOUNT_ORDER, 96);
  header.writeUInt32BE(HEADER_BYTES, 100);
  return header;
}

export function encodeL1(layout: Qcow2Layout): Buffer {
  return encodeTable(layout.l2Tables, (index) => encodeData(layout.l2Offset, index));
}

export function encodeRefcountTable(layout: Qcow2Layout): Buffer {
  const offset = (index: number) => BigInt(layout.refcountBlocksOffset + index * CLUSTER_BYTES);
  return encodeTable(layout.refcountBlocks, offset);
}

/** The first refcounts, of all blocks in a row: what lies before the data is used once. */
export function encodeMetadataRefcounts(layout: Qcow2Layout): Buffer {
  const counts = Buffer.alloc((layout.dataOffset / CLUSTER_BYTES) * REFCOUNT_BYTES);
  for (let at = 0; at < counts.length; at += REFCOUNT_BYTES) counts.writeUInt16BE(1, at);
  return counts;
}

/** What an L2 table says of a guest's cluster. */
export function encodeL2Entry(layout: Qcow2Layout, cluster: number, state: 'zero' | 'own'): bigint {
  return state === 'zero' ? READS_AS_ZERO : encodeData(layout.dataOffset, cluster);
}

function encodeData(offset: number, index: number): bigint {
  return BigInt(offset + index * CLUSTER_BYTES) | COPIED;
}

function encodeTable(length: number, entry: (index: number) => bigint): Buffer {
  const table = Buffer.alloc(length * ENTRY_BYTES);
  for (let index = 0; index < length; index += 1) {
    table.writeBigUInt64BE(entry(index), index * ENTRY_BYTES);
  }
  return table;
}
