/**
 * How much of GitHub's lock on a job was left at worst while its VM moved. Pure.
 *
 * The runner renews the lock every 60 s, for 10 minutes (FACTS; actions/runner,
 * `JobDispatcher.RenewJobRequestAsync`). Nobody outside the guest sees when it does, so the estimate is
 * the least favourable one: the last renewal lies a whole interval before the guest stopped. Blackouts
 * with less than an interval between them count as one, since no renewal may have come between.
 */
import type { MigrationRecord } from './migration-record.ts';

export const LOCK_MS = 600_000;
export const RENEWAL_MS = 60_000;

/** Undefined for a job whose guest was never away. Negative: the lock may have run out. */
export function lockMarginMs(
  moves: readonly Pick<MigrationRecord, 'phase' | 'endedAtMs' | 'blackoutMs'>[],
): number | undefined {
  const blackouts = moves
    .flatMap(({ phase, endedAtMs, blackoutMs }) =>
      (phase === 'done' || phase === 'committed') && endedAtMs !== null && blackoutMs !== null
        ? [{ endMs: endedAtMs, blackoutMs }]
        : [],
    )
    .toSorted((a, b) => a.endMs - b.endMs);
  let worstMs: number | undefined;
  let away = { endMs: Number.NEGATIVE_INFINITY, blackoutMs: 0 };
  for (const { endMs, blackoutMs } of blackouts) {
    const ranMs = endMs - blackoutMs - away.endMs;
    away = { endMs, blackoutMs: blackoutMs + (ranMs < RENEWAL_MS ? away.blackoutMs : 0) };
    worstMs = Math.max(worstMs ?? 0, away.blackoutMs);
  }
  return worstMs === undefined ? undefined : LOCK_MS - RENEWAL_MS - worstMs;
}
