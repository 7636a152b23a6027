/**
 * The QMP side of a migration that is held open to track a guest (FACTS, "The stream engine").
 *
 *   none ─hold─▶ active ──(guest stopped by `stop`)──▶ pre-switchover ─▶ device ─▶ completed
 *                  └─cancel─▶ cancelled ─▶ hold …            finish ──────┘  (guest in postmigrate)
 *
 * QEMU's `events` capability stays off: it would raise an event for each of hundreds of rounds a
 * pulse. The few transitions that matter are asked for instead; `query-migrate` answers in well under
 * a millisecond. Invariant: the switch-over ack is never given, so a guest that runs never leaves.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { QmpClient } from '../../vm/qmp/qmp-client.ts';
import { markSwitchover } from '../switchover-trace.ts';
import { HeldMigrationError } from './tracking-errors.ts';

/**
 * 1 ms at 1 MB/s, less than a page: QEMU synchronises its dirty bitmap when it has sent all of it, and
 * only then (freshness.ts). Under TCG it must not do so earlier: it takes the log of a page that it
 * has still to send without telling the guest's CPUs to log the next write to it, which is then lost
 * (ram_addr.h, cpu_physical_memory_sync_dirty_bitmap: `if (num_dirty)` counts only what is new).
 */
const THRESHOLD = { 'downtime-limit': 1, 'avail-switchover-bandwidth': 1_000_000 };
const UNLIMITED_BYTES_PER_S = 2 ** 50;
const START_LIMIT_MS = 10_000;
const CANCEL_LIMIT_MS = 10_000;
const SWITCHOVER_LIMIT_MS = 30_000;
const COMPLETE_LIMIT_MS = 60_000;
/** Inside the blackout; asking without a pause takes QEMU's big lock from its migration thread. */
const POLL_MS = 1;
/** Nobody's guest waits for it, and QEMU's main loop has its peer's on the same processors. */
const COMPLETE_POLL_MS = 10;

/** QEMU can begin another one. */
const OVER: readonly string[] = ['none', 'cancelled', 'failed', 'completed'];

const CAPABILITIES = {
  events: false,
  'x-ignore-shared': false,
  'return-path': true,
  'switchover-ack': true,
  'pause-before-switchover': true,
};

const Migration = z.object({
  status: z.string().max(40).optional(),
  'error-desc': z.string().max(2_000).optional(),
});

/**
 * QEMU begins to stream to the socket, on which somebody listens. On success the migration is active
 * and the guest runs as before; on failure (HeldMigrationError, QMP errors, the signal's reason) no
 * migration is under way and the guest runs as before.
 */
export async function holdMigration(
  qmp: QmpClient,
  { socketPath, signal }: { readonly socketPath: string; readonly signal: AbortSignal },
): Promise<void> {
  const capabilities = Object.entries(CAPABILITIES).map(([capability, state]) => ({
    capability,
    state,
  }));
  await qmp.run('migrate-set-capabilities', { capabilities });
  const limits = { ...THRESHOLD, 'max-bandwidth': UNLIMITED_BYTES_PER_S };
  await qmp.run('migrate-set-parameters', limits);
  signal.throwIfAborted();
  await qmp.run('migrate', { uri: `unix:${socketPath}` });
  try {
    await untilStatus(qmp, { wanted: ['active'], limitMs: START_LIMIT_MS, signal });
  } catch (error) {
    await cancelHold(qmp);
    throw error;
  }
}

/**
 * Ends the held migration, for hot-plug or for good; to be called whatever its state is. On success
 * QEMU can begin another one; the guest runs if it ran, and is paused if it was stopped. Rejects with
 * HeldMigrationError when QEMU does not let go of it in time.
 */
export async function cancelHold(qmp: QmpClient): Promise<void> {
  await qmp.run('migrate_cancel');
  const signal = AbortSignal.timeout(CANCEL_LIMIT_MS);
  await untilStatus(qmp, { wanted: OVER, lost: [], limitMs: CANCEL_LIMIT_MS, signal });
}

/**
 * The guest has been stopped by QMP `stop`, and somebody reads the stream, who answers `shut` at its
 * end. `beforeContinue` runs at once, while QEMU still owns the disk and nothing of the guest moves
 * (`stop` has drained and flushed what was in flight): the last disk clusters. On success QEMU is in `postmigrate`, its disk inactive; `cont` there is the way back.
 * On failure (HeldMigrationError, what `beforeContinue` threw, the signal's reason) the guest is
 * paused, here, and does not run by itself: `cancelHold`, then `cont`, is the way back.
 */
export async function finishHeld(
  qmp: QmpClient,
  request: {
    readonly beforeContinue: () => Promise<void>;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { beforeContinue, signal } = request;
  const paused = { wanted: ['pre-switchover'], limitMs: SWITCHOVER_LIMIT_MS, signal };
  await Promise.all([
    untilStatus(qmp, paused).then(() => markSwitchover('pre-switchover')),
    beforeContinue().then(() => markSwitchover('disk copied')),
  ]);
  signal.throwIfAborted();
  await qmp.run('migrate-continue', { state: 'pre-switchover' });
  markSwitchover('devices released');
  const completed = { wanted: ['completed'], pollMs: COMPLETE_POLL_MS };
  await untilStatus(qmp, { ...completed, limitMs: COMPLETE_LIMIT_MS, signal });
}

async function untilStatus(
  qmp: QmpClient,
  request: {
    readonly wanted: readonly string[];
    /** What it never comes back from. */
    readonly lost?: readonly string[];
    readonly limitMs: number;
    /** Between an answer and the next question. */
    readonly pollMs?: number;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { wanted, limitMs, pollMs = POLL_MS, lost = [...OVER, 'cancelling'] } = request;
  const limit = AbortSignal.timeout(limitMs);
  const signal = AbortSignal.any([request.signal, limit]);
  for (;;) {
    const { status = 'none', ...rest } = await readMigration(qmp);
    if (wanted.includes(status)) return;
    if (lost.includes(status)) {
      const why = rest['error-desc'] ?? 'QEMU gives no reason';
      throw new HeldMigrationError(`The held migration is ${status}: ${why}.`);
    }
    request.signal.throwIfAborted();
    if (limit.aborted) {
      const why = `still ${status} after ${limitMs} ms, not ${wanted.join(' or ')}`;
      throw new HeldMigrationError(`The held migration is ${why}.`);
    }
    await delay(pollMs, undefined, { signal }).catch(() => undefined);
  }
}

async function readMigration(qmp: QmpClient): Promise<z.infer<typeof Migration>> {
  return qmp.call({ command: 'query-migrate', answer: Migration });
}
