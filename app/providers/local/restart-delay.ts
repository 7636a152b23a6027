/** How long a host's agent that died stays down before it is started again. Pure. */
const FIRST_MS = 250;
const LONGEST_MS = 30_000;
/** A process that lived this long died of something new. */
const LONG_LIFE_MS = 60_000;

export interface Lives {
  /** Deaths in a row, each after a short life. */
  readonly deaths: number;
  readonly startedAtMs: number;
}

export function countDeath({ deaths, startedAtMs }: Lives, nowMs: number): number {
  return nowMs - startedAtMs >= LONG_LIFE_MS ? 1 : deaths + 1;
}

export function restartDelayMs(deaths: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, deaths - 1));
}
