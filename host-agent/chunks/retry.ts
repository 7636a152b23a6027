/** Retries with full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ */
import { setTimeout as sleep } from 'node:timers/promises';

export interface RetryLimits {
  /** In all, the first included. */
  readonly attempts: number;
  /** The longest wait before the second attempt; it doubles from there. */
  readonly firstMs: number;
  readonly longestMs: number;
}

/** The wait after attempt number `attempt` (0 is the first), `random` being in [0, 1). */
export function fullJitterMs(limits: RetryLimits, attempt: number, random: number): number {
  const ceiling = Math.min(limits.longestMs, limits.firstMs * 2 ** Math.min(attempt, 30));
  return Math.floor(random * ceiling);
}

/**
 * What `task` gives in one of its attempts. Throws its last error, its first that `worthRetrying`
 * denies, or the signal's reason.
 */
export async function withRetry<T>(
  task: () => Promise<T>,
  {
    signal,
    limits,
    worthRetrying,
  }: {
    readonly signal: AbortSignal;
    readonly limits: RetryLimits;
    readonly worthRetrying: (error: unknown) => boolean;
  },
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      return await task();
    } catch (error) {
      signal.throwIfAborted();
      if (attempt + 1 >= limits.attempts || !worthRetrying(error)) throw error;
    }
    await pause(fullJitterMs(limits, attempt, Math.random()), signal);
  }
}

/** Throws the signal's own reason, where the timer would throw an AbortError around it. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}
