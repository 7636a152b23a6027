const FIRST_MS = 200;
const LONGEST_MS = 10_000;

/**
 * How long to wait before attempt number `attempt` (0 is the first after a good connection):
 * doubling up to ten seconds, of which `random` (0 ≤ random < 1) takes up to half away, so that a
 * fleet does not come back all at once.
 */
export function backOffMs(attempt: number, random: number): number {
  const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(full * (1 - random / 2));
}
