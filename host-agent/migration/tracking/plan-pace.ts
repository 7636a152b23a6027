/**
 * When to pulse next: rarely where nothing happens, and nowhere so often that tracking costs more than
 * its share. Pure.
 *
 * A pulse costs twice: while it lasts, up to a core of QEMU and of the agent; and afterwards the guest
 * itself, whose first write to each page that was sent is slow (the page is write-protected again).
 */

/** What tracking may take: of a core, and of the guest's time. */
export const TRACKING_SHARE = 0.02;
export const MIN_WAIT_MS = 500;
export const MAX_WAIT_MS = 15_000;
/** Fewer changed pages than this are what a guest does that does nothing. */
const IDLE_PAGES = 256;
const IDLE_GROWTH = 1.5;
/** A fault in KVM, or a slow write in TCG; measured at some microseconds. */
const GUEST_MS_PER_PAGE = 0.004;
/** The first pass reads all of memory, and is not what the next one costs. */
const LAST_PULSES = 5;

export interface PastPulse {
  readonly ms: number;
  readonly pages: number;
  readonly changedPages: number;
  /** The rest before it. */
  readonly waitedMs: number;
}

/** `history`: the latest last. */
export function planPace(history: readonly PastPulse[]): { readonly waitMs: number } {
  const recent = history.slice(-LAST_PULSES);
  const last = recent.at(-1);
  if (last === undefined) return { waitMs: 0 };
  const costs = recent.map(({ ms, pages }) => ms + pages * GUEST_MS_PER_PAGE);
  const affordableMs = lowerMedian(costs) / TRACKING_SHARE;
  const isIdle = last.changedPages < IDLE_PAGES;
  const calmMs = isIdle ? last.waitedMs * IDLE_GROWTH : 0;
  return { waitMs: Math.min(MAX_WAIT_MS, Math.max(MIN_WAIT_MS, affordableMs, calmMs)) };
}

function lowerMedian(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}
