/**
 * How writers and the collector agree without speaking to each other. The collector takes a pack that
 * no live manifest names when it is older than the grace time; it reads the store's clock *before* it
 * reads a head. A writer makes a manifest visible only when each pack in it is
 *
 *   - named by the very head that it replaces (the conditional put fails if another is there), or
 *   - its own, and younger than the grace time, less a margin.
 *
 * So a pack that the collector judged old and unnamed at head H can never be named by a later head.
 * The margin covers what a put takes, requests that arrive late (AWS refuses a signature that is
 * 15 minutes old) and time stamps in whole seconds. To stay clear of that check, a writer stores a
 * chunk anew rather than reuse it from a pack in the older half of the grace time.
 */
const MINUTE_MS = 60_000;

export interface Grace {
  readonly graceMs: number;
  readonly marginMs: number;
}

/** Far longer than any checkpoint takes. Every writer and collector of a store has the same. */
export const DEFAULT_GRACE: Grace = { graceMs: 6 * 60 * MINUTE_MS, marginMs: 15 * MINUTE_MS };

/** Whether a chunk of a pack that old may be named again, rather than stored anew. */
export function isReusable(ageMs: number, { graceMs }: Grace): boolean {
  return ageMs >= 0 && ageMs < graceMs / 2;
}

/** The packs that may be collected before a manifest that names them is visible. */
export function findStalePacks(given: {
  readonly named: Iterable<string>;
  readonly inHead: ReadonlySet<string>;
  /** Of a pack that this writer stored itself; undefined for others'. */
  readonly ageMs: (packId: string) => number | undefined;
  readonly grace: Grace;
}): string[] {
  const { named, inHead, ageMs, grace } = given;
  return [...named].filter((pack) => {
    if (inHead.has(pack)) return false;
    const age = ageMs(pack);
    return age === undefined || age >= grace.graceMs - grace.marginMs;
  });
}

export interface Clock {
  /** The wall's, in ms since 1970; it may jump. */
  nowMs(): number;
  /** Since some moment, in ms; it never jumps. */
  elapsedMs(): number;
}

export const SYSTEM_CLOCK: Clock = {
  nowMs: () => Date.now(),
  elapsedMs: () => performance.now(),
};

/** A moment by both clocks; its age is the larger, since believing a pack older is always safe. */
export interface Moment {
  readonly nowMs: number;
  readonly elapsedMs: number;
}

export function markMoment(clock: Clock): Moment {
  return { nowMs: clock.nowMs(), elapsedMs: clock.elapsedMs() };
}

export function ageMs(moment: Moment, clock: Clock): number {
  return Math.max(clock.nowMs() - moment.nowMs, clock.elapsedMs() - moment.elapsedMs);
}
