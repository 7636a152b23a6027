import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CLUSTER_BYTES, clustersOf, MAX_DISK_BYTES } from './cluster.ts';
import {
  encodeL1,
  encodeL2Entry,
  encodeMetadataRefcounts,
  L2_ENTRIES,
  planLayout,
  REFCOUNT_ENTRIES,
} from './qcow2-layout.ts';

const MASK = 0x00ff_ffff_ffff_fe00n;
const anySize = fc.integer({ min: 1, max: MAX_DISK_BYTES / 512 }).map((sectors) => sectors * 512);

test('property: every part has its place, in whole clusters, and every cluster is counted', () => {
  fc.assert(
    fc.property(anySize, (sizeBytes) => {
      const layout = planLayout(sizeBytes);
      const offsets = [
        layout.l1Offset,
        layout.refcountTableOffset,
        layout.refcountBlocksOffset,
        layout.l2Offset,
        layout.dataOffset,
      ];
      expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
      for (const offset of offsets) expect(offset % CLUSTER_BYTES).toBe(0);
      expect(layout.l2Tables * L2_ENTRIES).toBeGreaterThanOrEqual(clustersOf(sizeBytes));
      const counted = layout.refcountBlocks * REFCOUNT_ENTRIES;
      expect(counted).toBeGreaterThanOrEqual(clustersOf(layout.fileBytes));
      expect(layout.refcountBlocks * 8).toBeLessThanOrEqual(
        layout.refcountTableClusters * CLUSTER_BYTES,
      );
      expect(layout.fileBytes - layout.dataOffset).toBeGreaterThanOrEqual(sizeBytes);
    }),
  );
});

test('the largest disk has its last cluster and table where they belong', () => {
  const layout = planLayout(MAX_DISK_BYTES);
  const last = clustersOf(MAX_DISK_BYTES) - 1;
  const entry = encodeL2Entry(layout, last, 'own') & MASK;
  expect(entry).toBe(BigInt(layout.fileBytes - CLUSTER_BYTES));
  const table = encodeL1(layout).readBigUInt64BE((layout.l2Tables - 1) * 8) & MASK;
  expect(table).toBe(BigInt(layout.dataOffset - CLUSTER_BYTES));
  expect(encodeMetadataRefcounts(layout)).toHaveLength((layout.dataOffset / CLUSTER_BYTES) * 2);
});

test('a larger disk is refused', () => {
  expect(() => planLayout(MAX_DISK_BYTES + 512)).toThrow(RangeError);
});
