/** The unit of a disk: what QEMU's bitmap, the export, the image and the overlay have in common. */
export const CLUSTER_BYTES = 65_536;

/** What a larger disk would need in tables and file offsets was never tried. */
export const MAX_DISK_BYTES = 16 * 1024 ** 4;
const SECTOR_BYTES = 512;

/**
 * `base`: the same as in the template's disk, or beyond its end. `zero` is not `base`: the guest
 * discarded or zeroed what the template may have data for.
 */
export type ClusterState = 'base' | 'zero' | 'own';

/** The last cluster of a disk whose size is no multiple of 64 KiB counts; it is shorter. */
export function clustersOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / CLUSTER_BYTES);
}

/** Throws RangeError for a size that no disk of ours has: not 1 sector to 16 TiB, in whole sectors. */
export function checkDiskSize(sizeBytes: number): void {
  const isWhole = Number.isSafeInteger(sizeBytes) && sizeBytes % SECTOR_BYTES === 0;
  if (isWhole && sizeBytes > 0 && sizeBytes <= MAX_DISK_BYTES) return;
  throw new RangeError(`a disk of ${sizeBytes} bytes cannot be`);
}

/**
 * How many clusters `length` bytes from `cluster` on are. Throws RangeError unless they are whole
 * clusters inside the disk, or end where the disk ends.
 */
export function clustersIn(
  sizeBytes: number,
  { cluster, length }: { readonly cluster: number; readonly length: number },
): number {
  const end = cluster * CLUSTER_BYTES + length;
  const isInside = Number.isInteger(cluster) && cluster >= 0 && length > 0 && end <= sizeBytes;
  if (isInside && (length % CLUSTER_BYTES === 0 || end === sizeBytes)) return clustersOf(length);
  throw new RangeError(`${length} bytes at cluster ${cluster} are no clusters of this disk`);
}
