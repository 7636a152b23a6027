/**
 * The run lease of a rewindable VM, on the host that runs it. Pure.
 *
 *   control plane's clock   ──granted────────────────until──┬─skew─┬─stop─┬─ may be rewound
 *   host's clock, slow      ────granted───────────────────────until┴─stop─┘
 *
 * The guest runs only before `untilMs` on this host's wall clock. A wall clock may be set; so each
 * lease is also bound to the monotonic clock when it is learned, and whichever lapses first counts.
 * The arithmetic of the other side is app/authority/rewind.ts.
 */
import { REQUEST_TIMEOUT_MS } from '../protocol/messages.ts';
import { LEASE_MS, type RunLease } from '../protocol/token-messages.ts';

/** This host's two clocks, milliseconds. */
export interface HostClocks {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/** A lease and the monotonic moment at which it lapses, whatever the wall clock is set to. */
export interface BoundLease {
  readonly untilMs: number;
  readonly untilMonotonicMs: number;
}

/**
 * The lease with which a rewindable VM begins here. The control plane counts a whole lease from when it
 * sent the request, which came within its time limit or was given up.
 */
export function firstLease(nowMs: number): RunLease {
  return { untilMs: Math.round(nowMs) + LEASE_MS - REQUEST_TIMEOUT_MS };
}

export function bindLease(lease: RunLease, clocks: HostClocks): BoundLease {
  const { untilMs } = lease;
  return { untilMs, untilMonotonicMs: clocks.monotonicMs + (untilMs - clocks.wallMs) };
}

/** How long the guest may run from now on; not above 0: it must not run. Null: no lease is needed. */
export function runTimeLeftMs(lease: BoundLease | null, clocks: HostClocks): number {
  if (lease === null) return Number.POSITIVE_INFINITY;
  return Math.min(lease.untilMs - clocks.wallMs, lease.untilMonotonicMs - clocks.monotonicMs);
}

export function leaseAllows(lease: BoundLease | null, clocks: HostClocks): boolean {
  return runTimeLeftMs(lease, clocks) > 0;
}
