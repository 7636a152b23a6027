/**
 * When a host really goes away, by its own clock. A deadline is the one thing here that is compared
 * with a clock, and clouds and hosts need not agree on the time; so a time that cannot be true is
 * replaced by what the cloud promises at least. Never later than the cloud said, as far as its
 * clock is known.
 */
import type { NoticeSource } from '../protocol/host-notice.ts';
import type { SaidNotice } from './topic-answer.ts';

export interface Clocks {
  readonly hostNowMs: number;
  /** Of the metadata service, in whole seconds; undefined where it did not say. */
  readonly serviceNowMs: number | undefined;
}

/** Below it, clocks count as equal: a Date header is cut to whole seconds. */
export const CLOCK_TOLERANCE_MS = 2_000;

interface NoticePromise {
  /** The least time between notice and end. */
  readonly promisedMs: number;
  /** More than this is no plausible notice. */
  readonly longestMs: number;
}

/** From each cloud's documentation; Azure's other events come up to 15 minutes ahead. */
const PROMISES = {
  ec2: { promisedMs: 120_000, longestMs: 180_000 },
  gcp: { promisedMs: 30_000, longestMs: 30_000 },
  azure: { promisedMs: 30_000, longestMs: 20 * 60_000 },
} as const satisfies Record<NoticeSource, NoticePromise>;

/** Null for a hint, which has none. For an end that names no time, the promise counts from now. */
export function judgeDeadline(
  source: NoticeSource,
  said: SaidNotice,
  { hostNowMs, serviceNowMs }: Clocks,
): number | null {
  if (said.kind === 'rebalance') return null;
  const { promisedMs, longestMs } = PROMISES[source];
  if (said.atMs === undefined) return hostNowMs + promisedMs;
  const skewMs = serviceNowMs === undefined ? 0 : hostNowMs - serviceNowMs;
  const correctionMs = Math.abs(skewMs) > CLOCK_TOLERANCE_MS ? skewMs : 0;
  const leftMs = said.atMs + correctionMs - hostNowMs;
  if (leftMs > longestMs) return hostNowMs + promisedMs;
  return hostNowMs + Math.max(0, leftMs);
}
