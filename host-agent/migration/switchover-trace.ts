/**
 * When a switch-over reached each of its steps, for whoever measures: published on a diagnostics
 * channel of the thread that took the step, and costs nothing where nobody listens.
 */
import { channel } from 'node:diagnostics_channel';

export const SWITCHOVER_CHANNEL = 'architect:switchover';

export type SwitchoverStep =
  | 'stop sent'
  | 'guest stopped'
  | 'pre-switchover'
  | 'disk copied'
  | 'devices released'
  | 'stream ended'
  | 'all sent'
  | 'memory received'
  | 'all received'
  | 'overlay closed'
  | 'all fed'
  | 'loaded'
  | 'source knows'
  | 'given'
  | 'received'
  | 'guest runs';

export interface SwitchoverMark {
  readonly step: SwitchoverStep;
  /** Milliseconds since 1970, monotonic within one thread and near enough between two. */
  readonly atMs: number;
}

const marks = channel(SWITCHOVER_CHANNEL);

export function markSwitchover(step: SwitchoverStep): void {
  if (!marks.hasSubscribers) return;
  const mark: SwitchoverMark = { step, atMs: performance.timeOrigin + performance.now() };
  marks.publish(mark);
}
