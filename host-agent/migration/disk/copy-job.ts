/**
 * One block job of QEMU, from its start to its end (QEMU qapi/block-core.json, qapi/job.json):
 *
 *   command → JOB_STATUS_CHANGE created, running … → BLOCK_JOB_COMPLETED (error?) → … null
 *
 * Only after `null` is its name free again, and only then are source and target its own no more.
 */
import { z } from 'zod';
import type { QmpClient } from '../../vm/qmp/qmp-client.ts';
import type { QmpEvent } from '../../vm/qmp/qmp-message.ts';
import { onConnectionEnd } from './connection-end.ts';
import { DiskTrackingError } from './disk-errors.ts';

/** QEMU gives up what is under way at the target, which is on this host. */
const CANCEL_LIMIT_MS = 5_000;

const StatusChange = z.object({ id: z.string(), status: z.string() });
const BlockJobEnd = z.object({
  device: z.string(),
  offset: z.number(),
  error: z.string().max(1_000).optional(),
});

export interface CopyJob {
  readonly id: string;
  /** Sends the command that starts the job under this id. */
  readonly start: () => Promise<void>;
  readonly limitMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Answers how many bytes were copied. Rejects with DiskTrackingError, the signal's reason or a QMP
 * error; the job is then over, unless QEMU does not end it, which the error says.
 */
export async function runCopyJob(qmp: QmpClient, job: CopyJob): Promise<number> {
  job.signal?.throwIfAborted();
  const watch = watchJob(qmp, job.id);
  try {
    await job.start();
    const reason = await firstOf(watch.ended, job);
    if (reason !== undefined) await cancelJob(qmp, watch, { id: job.id, reason });
    return await watch.ended;
  } finally {
    watch.stop();
  }
}

interface JobWatch {
  readonly ended: Promise<number>;
  readonly stop: () => void;
}

function watchJob(qmp: QmpClient, id: string): JobWatch {
  const ended = Promise.withResolvers<number>();
  ended.promise.catch(() => undefined);
  let bytes = 0;
  let error: string | undefined;
  const take = ({ name, data }: QmpEvent) => {
    if (name === 'BLOCK_JOB_COMPLETED' || name === 'BLOCK_JOB_CANCELLED') {
      const end = BlockJobEnd.safeParse(data).data;
      if (end?.device !== id) return;
      bytes = end.offset;
      if (name === 'BLOCK_JOB_CANCELLED') error = 'it was cancelled';
      error = end.error ?? error;
    } else if (name === 'JOB_STATUS_CHANGE') {
      const change = StatusChange.safeParse(data).data;
      if (change?.id !== id || change.status !== 'null') return;
      if (error === undefined) ended.resolve(bytes);
      else ended.reject(new DiskTrackingError(`QEMU could not copy what a guest wrote: ${error}.`));
    }
  };
  const lost = (why: string) =>
    ended.reject(new DiskTrackingError(`QEMU was lost while it copied a disk: ${why}.`));
  const stopEvents = qmp.onEvent(take);
  const stopEnd = onConnectionEnd(qmp, lost);
  const stop = () => {
    stopEvents();
    stopEnd();
  };
  return { ended: ended.promise, stop };
}

/** Undefined when the job has ended, else why it has to. */
async function firstOf(
  ended: Promise<unknown>,
  { limitMs, signal }: CopyJob,
): Promise<unknown | undefined> {
  const stopped = Promise.withResolvers<unknown>();
  const late = () => stopped.resolve(new DiskTrackingError(`A disk took more than ${limitMs} ms.`));
  const abort = () => stopped.resolve(signal?.reason);
  const timer = setTimeout(late, limitMs);
  signal?.addEventListener('abort', abort, { once: true });
  const settled = ended.then(
    () => undefined,
    () => undefined,
  );
  return Promise.race([settled, stopped.promise]).finally(() => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  });
}

/** Throws the reason once the job is over; answers when it was faster than the cancelling. */
async function cancelJob(
  qmp: QmpClient,
  { ended }: JobWatch,
  { id, reason }: { readonly id: string; readonly reason: unknown },
): Promise<void> {
  // It fails when the job has ended in between.
  await qmp.run('block-job-cancel', { device: id, force: true }).catch(() => undefined);
  const late = Promise.withResolvers<'late'>();
  const timer = setTimeout(late.resolve, CANCEL_LIMIT_MS, 'late');
  const outcome = await Promise.race([
    ended.then(
      () => 'copied' as const,
      () => 'ended' as const,
    ),
    late.promise,
  ]).finally(() => clearTimeout(timer));
  if (outcome === 'late') {
    const message = `QEMU did not end the copying of a disk within ${CANCEL_LIMIT_MS} ms.`;
    throw new DiskTrackingError(message, { cause: reason });
  }
  if (outcome === 'ended') throw reason;
}
