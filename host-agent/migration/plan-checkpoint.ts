/** When a VM's next checkpoint is due. Pure. */

/** What checkpoints may take of the guest's time. */
export const CHECKPOINT_SHARE = 0.03;
/**
 * What a host's sudden death costs a rewound job at most, as long as checkpoints are cheap enough and
 * the operator does not say otherwise.
 */
export const DEFAULT_INTERVAL_MS = 5 * 60_000;
/** Beyond it a checkpoint is hardly worth what it costs, and is made all the same. */
export const MAX_INTERVAL_MS = 60 * 60_000;
/** Costs differ from one to the next: the dearest of these counts. */
const LAST_CHECKPOINTS = 3;

export interface PastCheckpoint {
  /** The guest stood. */
  readonly stopMs: number;
  /** From its going on until it was tracked again: QEMU sends all of its memory, the agent seals. */
  readonly busyMs: number;
}

/**
 * From one checkpoint to the next. A busy millisecond counts as one of the guest's, which is the most
 * that it can be: with a core to spare on the host it is none. `history`: the latest last; a failed
 * attempt belongs in it. `shortestMs`: of the interval, whatever checkpoints cost.
 */
export function planCheckpoint(
  history: readonly PastCheckpoint[],
  shortestMs = DEFAULT_INTERVAL_MS,
): { readonly intervalMs: number } {
  const costs = history.slice(-LAST_CHECKPOINTS).map(({ stopMs, busyMs }) => stopMs + busyMs);
  const affordableMs = Math.max(0, ...costs) / CHECKPOINT_SHARE;
  return { intervalMs: Math.min(MAX_INTERVAL_MS, Math.max(shortestMs, affordableMs)) };
}

/** `sinceMs`: the last one, or since when it could have been made. */
export function isDue({
  history,
  sinceMs,
  nowMs,
  shortestMs,
}: {
  readonly history: readonly PastCheckpoint[];
  readonly sinceMs: number;
  readonly nowMs: number;
  readonly shortestMs?: number | undefined;
}): boolean {
  return nowMs - sinceMs >= planCheckpoint(history, shortestMs).intervalMs;
}
