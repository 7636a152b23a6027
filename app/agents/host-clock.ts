/** Moments that a host reports, on this process's clock. Pure. */
import type { HostNotice } from '../../host-agent/protocol/host-notice.ts';
import type { Report } from '../../host-agent/protocol/messages.ts';

/**
 * Differences that are left alone: otherwise each report would move the deadline a little. A host
 * whose clock seems to be behind may only have been slow to be heard, so that takes more; left alone,
 * it makes the deadline too early, never too late.
 */
export const AHEAD_TOLERANCE_MS = 500;
export const BEHIND_TOLERANCE_MS = 10_000;

/** The report's notice; its times are shifted where the host's clock and ours differ. */
export function onOurClock(
  { notice, sentAtMs }: Pick<Report, 'notice' | 'sentAtMs'>,
  receivedAtMs: number,
): HostNotice | null {
  const shiftMs = receivedAtMs - sentAtMs;
  const isSame = shiftMs >= -AHEAD_TOLERANCE_MS && shiftMs <= BEHIND_TOLERANCE_MS;
  if (notice === null || isSame) return notice;
  const { deadlineMs, seenAtMs } = notice;
  return {
    ...notice,
    deadlineMs: deadlineMs === null ? null : deadlineMs + shiftMs,
    seenAtMs: seenAtMs + shiftMs,
  };
}
