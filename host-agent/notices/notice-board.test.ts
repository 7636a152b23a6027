import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Clocks, judgeDeadline } from './judge-deadline.ts';
import { currentNotice, EMPTY_BOARD, type NoticeBoard, post } from './notice-board.ts';
import { answerLimitMs, pauseMs } from './pace.ts';
import type { SaidNotice } from './topic-answer.ts';

const NOW_MS = Date.parse('2026-11-23T20:00:00Z');
const end = (key: string, atMs: number | undefined): SaidNotice => ({
  kind: 'interruption',
  key,
  atMs,
});
const hint: SaidNotice = { kind: 'rebalance', key: 'hint', atMs: undefined };

function clocks(hostNowMs: number, serviceNowMs: number | undefined = undefined): Clocks {
  return { hostNowMs, serviceNowMs };
}

function say(board: NoticeBoard, topic: string, said: SaidNotice | undefined, nowMs = NOW_MS) {
  return post(board, { source: 'ec2', topic, said, clocks: clocks(nowMs) });
}

describe('post', () => {
  test('first seen counts, and the same again is the same notice', () => {
    const first = say(EMPTY_BOARD, 'action', end('a', NOW_MS + 100_000));
    const again = say(first, 'action', end('a', NOW_MS + 100_000), NOW_MS + 500);
    expect(again).toBe(first);
    expect(currentNotice(again)).toEqual({
      kind: 'interruption',
      deadlineMs: NOW_MS + 100_000,
      source: 'ec2',
      seenAtMs: NOW_MS,
    });
  });

  test('a notice that is taken back is gone, and one of another time takes its place', () => {
    const first = say(EMPTY_BOARD, 'action', end('a', NOW_MS + 100_000));
    expect(currentNotice(say(first, 'action', undefined))).toBeNull();
    const moved = say(first, 'action', end('b', NOW_MS + 50_000), NOW_MS + 1_000);
    expect(currentNotice(moved)).toMatchObject({
      deadlineMs: NOW_MS + 50_000,
      seenAtMs: NOW_MS + 1_000,
    });
  });

  test('an end goes before a hint, in whatever order they come, and the hint stays known', () => {
    const both = say(say(EMPTY_BOARD, 'hint', hint), 'action', end('a', NOW_MS + 9_000));
    expect(currentNotice(both)).toMatchObject({ kind: 'interruption' });
    expect(currentNotice(say(both, 'action', undefined))).toMatchObject({
      kind: 'rebalance',
      deadlineMs: null,
    });
    const other = say(say(EMPTY_BOARD, 'action', end('a', NOW_MS + 9_000)), 'hint', hint);
    expect(currentNotice(other)).toMatchObject({ kind: 'interruption' });
  });

  test('of two ends the sooner counts', () => {
    const both = say(say(EMPTY_BOARD, 'x', end('a', NOW_MS + 9)), 'y', end('b', NOW_MS + 8));
    expect(currentNotice(both)).toMatchObject({ deadlineMs: NOW_MS + 8 });
  });
});

describe('judgeDeadline', () => {
  const inTwoMinutes = end('a', NOW_MS + 120_000);
  test.each([
    ['clocks that agree', clocks(NOW_MS, NOW_MS), 120_000],
    ['a service without a clock', clocks(NOW_MS), 120_000],
    ['a host an hour ahead', clocks(NOW_MS + 3_600_000, NOW_MS), 120_000],
    ['a host an hour behind', clocks(NOW_MS - 3_600_000, NOW_MS), 120_000],
    ['a host an hour ahead, and no clock to compare', clocks(NOW_MS + 3_600_000), 0],
    ['a host an hour behind, and no clock to compare', clocks(NOW_MS - 3_600_000), 120_000],
    ['a notice heard late', clocks(NOW_MS + 90_000, NOW_MS + 90_000), 30_000],
    ['a cut second', clocks(NOW_MS + 999, NOW_MS), 119_001],
  ])('%s', (_name, given, leftMs) => {
    expect(judgeDeadline('ec2', inTwoMinutes, given)).toBe(given.hostNowMs + leftMs);
  });

  test('without a time the cloud’s promise counts from now; a hint has no deadline', () => {
    expect(judgeDeadline('gcp', end('preempted', undefined), clocks(NOW_MS))).toBe(NOW_MS + 30_000);
    expect(judgeDeadline('ec2', hint, clocks(NOW_MS))).toBeNull();
  });

  test('it is never in the past, nor further away than a notice can be', () => {
    const moment = fc.integer({ min: 0, max: 2 ** 42 });
    fc.assert(
      fc.property(moment, moment, fc.option(moment, { nil: undefined }), (atMs, hostNowMs, now) => {
        const deadlineMs = judgeDeadline('ec2', end('a', atMs), clocks(hostNowMs, now)) ?? 0;
        expect(deadlineMs).toBeGreaterThanOrEqual(hostNowMs);
        expect(deadlineMs - hostNowMs).toBeLessThanOrEqual(180_000);
      }),
    );
  });
});

describe('pace', () => {
  test('a service that fails is asked less often, up to every two seconds', () => {
    expect([0, 1, 2, 3, 4, 99].map((failures) => pauseMs(500, failures, 0))).toEqual([
      500, 500, 1000, 2000, 2000, 2000,
    ]);
    expect(pauseMs(500, 99, 0.999)).toBeGreaterThanOrEqual(1000);
  });

  test('a slow service is given more time, and a first limit that is longer is kept', () => {
    expect([0, 1, 2, 3, 4, 99].map((failures) => answerLimitMs(1_000, failures))).toEqual([
      1000, 2000, 4000, 8000, 8000, 8000,
    ]);
    expect(answerLimitMs(130_000, 1)).toBe(130_000);
  });
});
