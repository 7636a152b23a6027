/** How many questions one VM may ask: a bucket that fills with time. Pure. */
export interface RequestRate {
  readonly tokens: number;
  readonly atMs: number;
}

/** A job that looks now and then never meets it; one that hammers gets this many a second. */
export const RATE_PER_SECOND = 4;
export const BURST = 20;

export const FULL_RATE: RequestRate = { tokens: BURST, atMs: 0 };

/** The bucket after one more question; undefined: there have been too many. */
export function takeOne({ tokens, atMs }: RequestRate, nowMs: number): RequestRate | undefined {
  const filled = Math.min(BURST, tokens + (Math.max(0, nowMs - atMs) / 1_000) * RATE_PER_SECOND);
  return filled < 1 ? undefined : { tokens: filled - 1, atMs: nowMs };
}
