/**
 * What is known of this host's notices, from the answers so far. Pure.
 *
 *   topic says a notice   → kept as first seen; said again with the same key, nothing changes
 *   topic says none       → withdrawn
 *   unusable, no answer   → not brought here: what was known stays
 *
 * The host has one notice at a time: an interruption before a hint, the soonest of several.
 */
import { type HostNotice, mostUrgent, type NoticeSource } from '../protocol/host-notice.ts';
import { type Clocks, judgeDeadline } from './judge-deadline.ts';
import type { SaidNotice } from './topic-answer.ts';

interface Posted {
  readonly key: string;
  readonly notice: HostNotice;
}
export type NoticeBoard = ReadonlyMap<string, Posted>;

export const EMPTY_BOARD: NoticeBoard = new Map();

export interface TopicNews {
  readonly source: NoticeSource;
  readonly topic: string;
  /** Undefined: the topic says that there is none. */
  readonly said: SaidNotice | undefined;
  readonly clocks: Clocks;
}

/** The same board where there is nothing new. */
export function post(board: NoticeBoard, { source, topic, said, clocks }: TopicNews): NoticeBoard {
  if (said?.key === board.get(topic)?.key) return board;
  const next = new Map(board);
  if (said === undefined) next.delete(topic);
  else {
    const deadlineMs = judgeDeadline(source, said, clocks);
    const notice = { kind: said.kind, deadlineMs, source, seenAtMs: clocks.hostNowMs };
    next.set(topic, { key: said.key, notice });
  }
  return next;
}

export function currentNotice(board: NoticeBoard): HostNotice | null {
  return mostUrgent([...board.values()].map(({ notice }) => notice));
}
