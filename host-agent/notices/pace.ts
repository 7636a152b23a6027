/**
 * How often a metadata service is asked. A service that fails is asked less often and given more time
 * to answer, but never so rarely that a notice of 30 s would be spent on waiting.
 */
const FIRST_BACK_OFF_MS = 250;
const LONGEST_BACK_OFF_MS = 2_000;
const LONGEST_WAIT_MS = 8_000;
const DOUBLINGS = 10;

/** The pause before the next question; `random` (0 ≤ random < 1) takes up to half of a back-off away. */
export function pauseMs(everyMs: number, failures: number, random: number): number {
  if (failures === 0) return everyMs;
  const full = Math.max(everyMs, FIRST_BACK_OFF_MS) * 2 ** Math.min(failures - 1, DOUBLINGS);
  return Math.round(Math.min(LONGEST_BACK_OFF_MS, full) * (1 - random / 2));
}

/** How long an answer may take: `firstMs`, and longer after failures, for a service that is slow. */
export function answerLimitMs(firstMs: number, failures: number): number {
  const grown = firstMs * 2 ** Math.min(failures, DOUBLINGS);
  return Math.max(firstMs, Math.min(LONGEST_WAIT_MS, grown));
}
