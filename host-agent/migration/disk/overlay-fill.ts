/** From the agent's image of a disk into the overlay that a QEMU of this host will take over. */
import type { ChangeSet } from '../image/change-set.ts';
import type { DiskImage } from './disk-image.ts';
import type { OverlayFile } from './overlay-file.ts';

/** 1 MiB is read and written at once, at most. */
const MAX_RUN_CLUSTERS = 16;

/**
 * Copies at most `limit` of the clusters that are marked and gives how many there were; 0: all is
 * copied. Rejects with DiskImageError or OverlayFileError; the overlay is then of no use.
 */
export async function fillOverlay(
  overlay: OverlayFile,
  {
    image,
    changes,
    limit,
  }: { readonly image: DiskImage; readonly changes: ChangeSet; readonly limit: number },
): Promise<number> {
  const clusters = changes.take(limit);
  for (const { first, count } of planRuns(clusters, (cluster) => image.stateOf(cluster))) {
    if (image.stateOf(first) === 'zero') {
      for (let at = first; at < first + count; at += 1) overlay.zeroCluster(at);
    } else await overlay.writeCluster(first, await image.read(first, count));
  }
  return clusters.length;
}

export interface ClusterRun {
  readonly first: number;
  readonly count: number;
}

/** Neighbours in one state, in the order in which they are given. */
export function planRuns(
  clusters: readonly number[],
  stateOf: (cluster: number) => unknown,
): readonly ClusterRun[] {
  const runs: { first: number; count: number }[] = [];
  for (const cluster of clusters) {
    const last = runs.at(-1);
    const isNext = last !== undefined && cluster === last.first + last.count;
    if (isNext && last.count < MAX_RUN_CLUSTERS && stateOf(last.first) === stateOf(cluster)) {
      last.count += 1;
    } else runs.push({ first: cluster, count: 1 });
  }
  return runs;
}
