/** Which hosts are to be emptied, and by when. Pure. */
import type { ObservedHost, PlannerConfig } from './observed.ts';

/** It surely goes away, or the operator wants it empty: nothing new begins there. */
export function isLeaving(host: ObservedHost | undefined): boolean {
  return host !== undefined && (host.drained || isInterrupted(host));
}

/** The cloud takes it back. */
export function isInterrupted({ notice }: ObservedHost): boolean {
  return notice?.kind === 'interruption';
}

export interface Departure {
  readonly host: ObservedHost;
  /** Infinity: nothing hurries. */
  readonly deadlineMs: number;
  readonly because: string;
}

/** Undefined for a host that stays. */
export function departureOf(host: ObservedHost, config: PlannerConfig): Departure | undefined {
  const { notice, drained } = host;
  if (notice?.kind === 'interruption') {
    const deadlineMs = notice.deadlineMs ?? notice.seenAtMs + config.untimedNoticeMs;
    return { host, deadlineMs, because: `Its host is taken back (${notice.source}).` };
  }
  const deadlineMs = Number.POSITIVE_INFINITY;
  if (drained) return { host, deadlineMs, because: 'Its host is drained.' };
  if (notice === undefined) return undefined;
  return { host, deadlineMs, because: `Its host may be taken back soon (${notice.source}).` };
}

/** Whatever is on the host is gone soon, unless it leaves. */
export function mustLeave({ deadlineMs }: Departure): boolean {
  return Number.isFinite(deadlineMs);
}

/** The most urgent first; ties by id. */
export function soonestFirst(a: Departure, b: Departure): number {
  if (a.deadlineMs !== b.deadlineMs) return a.deadlineMs < b.deadlineMs ? -1 : 1;
  return a.host.id < b.host.id ? -1 : 1;
}
