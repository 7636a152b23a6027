/** The longest delay that a timer takes; beyond it Node fires at once (timers.html#settimeout). */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** A wall-clock deadline may be in the past, or as far away as a clock that jumped makes it. Pure. */
export function capDelayMs(ms: number): number {
  return Math.min(MAX_DELAY_MS, Math.max(0, ms));
}
