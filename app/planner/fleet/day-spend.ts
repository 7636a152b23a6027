/** What machines cost, by the day (UTC) that it was spent on. Pure. */
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export interface DaySpend {
  /** `2026-11-25`. */
  readonly day: string;
  readonly usd: number;
  readonly untilMs: number;
}

export function dayOf(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 'yyyy-mm-dd'.length);
}

/** The time from `fromMs` to `toMs` at one rate; an entry for each day that it touches. */
export function spendByDay(
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
  usdPerHour: number,
): readonly DaySpend[] {
  const days: DaySpend[] = [];
  let atMs = fromMs;
  while (atMs < toMs) {
    const untilMs = Math.min(toMs, (Math.floor(atMs / DAY_MS) + 1) * DAY_MS);
    days.push({ day: dayOf(atMs), usd: (usdPerHour * (untilMs - atMs)) / HOUR_MS, untilMs });
    atMs = untilMs;
  }
  return days;
}
