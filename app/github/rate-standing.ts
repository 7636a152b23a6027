/**
 * Where an hourly limit stands, and what polling may use of it. Pure.
 *
 *   remaining
 *   limit ┤╲
 *   80 %  ┤  ╲ ╲          polling stops below the falling line, so that it never takes more than
 *         │     ╲  ╲      its share of what is left, and what is minted always finds something
 *   20 %  ┤ ╴ ╴ ╴ ╴ ╴ ╲╴
 *         └─────────────┴─ reset
 */
import { z } from 'zod';

const WINDOW_MS = 3_600_000;
const RESERVED_SHARE = 0.2;
const POLLED_SHARE = 0.2;

export interface RateStanding {
  readonly limit: number;
  readonly remaining: number;
  readonly resetAtMs: number;
}

const RateHeaders = z.object({
  'x-ratelimit-limit': z.coerce.number().int().positive(),
  'x-ratelimit-remaining': z.coerce.number().int().min(0),
  'x-ratelimit-reset': z.coerce.number().int().positive(),
});

/** Undefined for an answer that does not say, as of an Enterprise Server without limits. */
export function parseRateStanding(headers: Headers): RateStanding | undefined {
  const parsed = RateHeaders.safeParse(Object.fromEntries(headers)).data;
  if (parsed === undefined) return undefined;
  return {
    limit: parsed['x-ratelimit-limit'],
    remaining: parsed['x-ratelimit-remaining'],
    resetAtMs: parsed['x-ratelimit-reset'] * 1_000,
  };
}

/** Whether polling may send a request that counts. What is not known, or was reset since, allows it. */
export function mayPoll(standing: RateStanding | undefined, nowMs: number): boolean {
  if (standing === undefined || nowMs >= standing.resetAtMs) return true;
  const { limit, remaining, resetAtMs } = standing;
  const timeLeft = Math.min(1, (resetAtMs - nowMs) / WINDOW_MS);
  const kept = RESERVED_SHARE + (1 - RESERVED_SHARE - POLLED_SHARE) * timeLeft;
  return remaining > limit * kept;
}
