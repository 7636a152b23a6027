/** What each checkpoint cost, for whoever measures: as switchover-trace.ts, it costs nothing else. */
import { channel } from 'node:diagnostics_channel';
import type { PastCheckpoint } from './plan-checkpoint.ts';

export const CHECKPOINT_CHANNEL = 'architect:checkpoint';

export interface CheckpointMark extends PastCheckpoint {
  /** Of content that was not in the store before. */
  readonly sealedBytes: number;
}

const marks = channel(CHECKPOINT_CHANNEL);

/** Of one that was published. */
export function markCheckpoint({ stopMs, busyMs, sealedBytes }: CheckpointMark): void {
  if (marks.hasSubscribers) marks.publish({ stopMs, busyMs, sealedBytes });
}
