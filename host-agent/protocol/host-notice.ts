/** A cloud's word that it takes a host back, as the host heard it from its metadata service. */
import { z } from 'zod';

export const NoticeSource = z.enum(['ec2', 'gcp', 'azure']);
export type NoticeSource = z.infer<typeof NoticeSource>;

/**
 * `interruption`: the host goes away, and everything on it that has not left by then.
 * `rebalance`: the cloud thinks that it may soon; nothing is decided.
 */
export const NoticeKind = z.enum(['interruption', 'rebalance']);
export type NoticeKind = z.infer<typeof NoticeKind>;

export const HostNotice = z.object({
  kind: NoticeKind,
  /** Wall clock. Null where the cloud named no time, which is so for every `rebalance`. */
  deadlineMs: z.int().nullable(),
  source: NoticeSource,
  /** When this host first saw it; seeing it again does not change it. */
  seenAtMs: z.int(),
});
export type HostNotice = Readonly<z.infer<typeof HostNotice>>;

/** An interruption before a hint, the soonest of several, of equals the one that was seen first. */
export function mostUrgent(notices: readonly HostNotice[]): HostNotice | null {
  const [first = null] = notices.toSorted((a, b) => {
    if (a.kind !== b.kind) return a.kind === 'interruption' ? -1 : 1;
    return (a.deadlineMs ?? 0) - (b.deadlineMs ?? 0) || a.seenAtMs - b.seenAtMs;
  });
  return first;
}
