/**
 * Which clusters of its disk a guest has written, and their way into the agent's image, over QMP
 * (QEMU docs/interop/bitmaps.rst, qapi/block-core.json):
 *
 *   markDiskWrites (before the guest's first write) … attachDiskTracking → pulseDisk … → detach
 *   a QEMU that was taken over, whose image is lost: attachDiskTracking with a full pass → pulseDisk …
 *
 * Each pulse is a backup job from the guest's disk to the agent's export: what the disk held when the
 * pulse began. `bitmap-mode: always`: what a pulse has copied when it fails or is cancelled is not
 * copied again, and what it has not stays marked. So a pulse may end in any way, and loses nothing.
 *
 * Invariants: one pulse at a time (the caller's duty, as is no block_resize during one); the bitmap
 * lives as long as QEMU and survives resize, migration and `cont`; the last pulse of a migration is
 * done between `stop` and `migrate-continue`: after that QEMU lets nobody write to its block nodes.
 */
import { z } from 'zod';
import type { QmpClient } from '../../vm/qmp/qmp-client.ts';
import { CLUSTER_BYTES } from './cluster.ts';
import { runCopyJob } from './copy-job.ts';
import { DiskTrackingError } from './disk-errors.ts';

const BITMAP = 'architect-writes';
const EXPORT_NODE = 'architect-export';
const JOB = 'architect-pulse';
/** The export is on this host; a pulse that cannot reach it fails, the next one tries again. */
const OPEN_TIMEOUT_S = 2;
const PULSE_LIMIT_MS = 60_000;
/** A whole overlay of some 100 GB at 100 MB/s. */
const FULL_PASS_LIMIT_MS = 30 * 60_000;
const MAX_NODES = 200;

const BlockNode = z.object({
  'node-name': z.string().optional(),
  'dirty-bitmaps': z
    .array(z.object({ name: z.string().optional(), count: z.number() }))
    .max(100)
    .optional(),
});

export interface DiskPulse {
  /** Whole clusters, also for a short last one. */
  readonly bytes: number;
  readonly ms: number;
}

export interface PulseLimits {
  readonly limitMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * From now on QEMU marks which clusters of the node are written, and marks none at first. To be done
 * before the guest's first write. Rejects with a QMP error.
 */
export async function markDiskWrites(qmp: QmpClient, node: string): Promise<void> {
  await qmp.run('block-dirty-bitmap-add', { node, name: BITMAP, granularity: CLUSTER_BYTES });
}

/**
 * Connects QEMU to the agent's export, which has the size of the guest's disk, and leaves nothing of
 * an earlier attachment. `lacks`: what the image behind the export does not have.
 *   `marked`   what the bitmap says; refused where there is no bitmap
 *   `overlay`  anything: the whole overlay is copied, which is the first pulse
 * Rejects with DiskTrackingError or a QMP error, and then nothing is attached; after a failed full
 * pass attach again with `overlay`.
 */
export async function attachDiskTracking(
  qmp: QmpClient,
  {
    node,
    exportSocket,
    lacks,
    ...limits
  }: PulseLimits & {
    readonly node: string;
    readonly exportSocket: string;
    readonly lacks: 'marked' | 'overlay';
  },
): Promise<DiskPulse> {
  await removeLeftovers(qmp);
  const { bitmapBytes } = await readNode(qmp, node);
  if (lacks === 'marked' && bitmapBytes === undefined) {
    throw new DiskTrackingError("Nobody kept count of a disk's writes from the beginning.");
  }
  await addExportNode(qmp, exportSocket);
  try {
    if (lacks === 'marked') return { bytes: 0, ms: 0 };
    // The bitmap begins first: what is written while the pass runs is for the next pulse.
    if (bitmapBytes === undefined) await markDiskWrites(qmp, node);
    else await qmp.run('block-dirty-bitmap-clear', { node, name: BITMAP });
    return await runBackup(qmp, {
      node,
      sync: { sync: 'top' },
      limits: { limitMs: FULL_PASS_LIMIT_MS, ...limits },
    });
  } catch (error) {
    await detachDiskTracking(qmp).catch(() => undefined);
    throw error;
  }
}

/**
 * Copies what was written since the last pulse. Resolves when it is in the image. Rejects with
 * DiskTrackingError, the signal's reason or a QMP error; the next pulse copies what this one did not.
 * When the export went away, attach again with `marked` first: QEMU connects anew in the background,
 * and fails whatever comes before it has.
 */
export async function pulseDisk(
  qmp: QmpClient,
  { node, ...limits }: PulseLimits & { readonly node: string },
): Promise<DiskPulse> {
  const startedMs = performance.now();
  // A job costs some ms even if there is nothing to copy; asking costs less than one.
  const { bitmapBytes } = await readNode(qmp, node);
  if (bitmapBytes === 0) return { bytes: 0, ms: performance.now() - startedMs };
  const sync = { sync: 'bitmap', bitmap: BITMAP, 'bitmap-mode': 'always' };
  const { bytes } = await runBackup(qmp, { node, sync, limits });
  return { bytes, ms: performance.now() - startedMs };
}

/** Lets go of the export; the bitmap goes on. Nothing attached is no error. */
export async function detachDiskTracking(qmp: QmpClient): Promise<void> {
  const nodes = await readNodes(qmp);
  if (!nodes.some((each) => each['node-name'] === EXPORT_NODE)) return;
  await qmp.run('blockdev-del', { 'node-name': EXPORT_NODE });
}

async function runBackup(
  qmp: QmpClient,
  {
    node,
    sync,
    limits,
  }: {
    readonly node: string;
    readonly sync: Readonly<Record<string, string>>;
    readonly limits: PulseLimits;
  },
): Promise<DiskPulse> {
  const startedMs = performance.now();
  const job = {
    ...{ 'job-id': JOB, device: node, target: EXPORT_NODE, ...sync },
    ...{ 'on-source-error': 'report', 'on-target-error': 'report' },
    ...{ 'auto-finalize': true, 'auto-dismiss': true },
  };
  const bytes = await runCopyJob(qmp, {
    id: JOB,
    start: () => qmp.run('blockdev-backup', job),
    limitMs: limits.limitMs ?? PULSE_LIMIT_MS,
    signal: limits.signal,
  });
  return { bytes, ms: performance.now() - startedMs };
}

/** `reconnect-delay` 0: a request to an export that went away fails at once instead of waiting. */
async function addExportNode(qmp: QmpClient, exportSocket: string): Promise<void> {
  await qmp.run('blockdev-add', {
    driver: 'nbd',
    'node-name': EXPORT_NODE,
    server: { type: 'unix', path: exportSocket },
    'reconnect-delay': 0,
    'open-timeout': OPEN_TIMEOUT_S,
  });
}

/** An agent that died may have left its pulse and its export in QEMU. */
async function removeLeftovers(qmp: QmpClient): Promise<void> {
  const answer = z.array(z.object({ id: z.string() })).max(MAX_NODES);
  const jobs = await qmp.call({ command: 'query-jobs', answer });
  if (jobs.some(({ id }) => id === JOB)) await endLeftoverJob(qmp);
  await detachDiskTracking(qmp);
}

async function endLeftoverJob(qmp: QmpClient): Promise<void> {
  const cancel = () => qmp.run('block-job-cancel', { device: JOB, force: true });
  // It ends with an error, as it should, or was faster than the cancelling.
  const job = { id: JOB, start: cancel, limitMs: PULSE_LIMIT_MS };
  await runCopyJob(qmp, job).catch(() => undefined);
}

async function readNode(qmp: QmpClient, node: string) {
  const found = (await readNodes(qmp)).find((each) => each['node-name'] === node);
  if (found === undefined) throw new DiskTrackingError(`QEMU has no disk ${node}.`);
  const bitmap = found['dirty-bitmaps']?.find(({ name }) => name === BITMAP);
  return { bitmapBytes: bitmap?.count };
}

async function readNodes(qmp: QmpClient) {
  const answer = z.array(BlockNode).max(MAX_NODES);
  return qmp.call({ command: 'query-named-block-nodes', arguments: { flat: true }, answer });
}
