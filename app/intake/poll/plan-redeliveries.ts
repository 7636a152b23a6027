/**
 * Which failed deliveries are to be sent again, and which attempt of each is named. Pure.
 *
 *   failed ──1 min──→ again ──failed: 2, 4, 8 … min──→ again ──MAX_ATTEMPTS──→ left to the poll
 *
 * One attempt that was delivered settles an event: the queue drops what comes twice.
 */
import type { DeliveryAttempt } from '../../github/delivery-log.ts';

const MAX_ATTEMPTS = 6;
const FIRST_PAUSE_MS = 60_000;
/** Each costs 5 of the App's 900 points a minute. */
const MAX_AT_ONCE = 20;

/** The oldest events first: ids of attempts. */
export function planRedeliveries(
  log: readonly DeliveryAttempt[],
  wanted: ReadonlySet<string>,
  nowMs: number,
): readonly number[] {
  const byEvent = Map.groupBy(
    log.filter(({ event }) => wanted.has(event)),
    ({ guid }) => guid,
  );
  return [...byEvent.values()]
    .flatMap((attempts) => dueAttempt(attempts, nowMs) ?? [])
    .sort((a, b) => a.atMs - b.atMs || a.id - b.id)
    .slice(0, MAX_AT_ONCE)
    .map(({ id }) => id);
}

function dueAttempt(
  attempts: readonly DeliveryAttempt[],
  nowMs: number,
): DeliveryAttempt | undefined {
  if (attempts.some(({ delivered }) => delivered) || attempts.length >= MAX_ATTEMPTS)
    return undefined;
  const last = attempts.reduce((newest, one) => (one.atMs > newest.atMs ? one : newest));
  const pauseMs = FIRST_PAUSE_MS * 2 ** (attempts.length - 1);
  return nowMs - last.atMs >= pauseMs ? last : undefined;
}
