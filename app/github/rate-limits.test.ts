import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnswerCache } from './answer-cache.ts';
import { mayPoll, parseRateStanding } from './rate-standing.ts';
import { pointsOf, SpentPoints } from './spent-points.ts';

const HOUR_MS = 3_600_000;
const NOW_MS = 1_700_000_000_000;

describe('mayPoll', () => {
  const standing = (remaining: number, timeLeft: number) => ({
    ...{ limit: 1_000, remaining, resetAtMs: NOW_MS + timeLeft * HOUR_MS },
  });

  it.each([
    ['a fresh window', 1_000, 1, true],
    ['its share is used up at once', 799, 1, false],
    ['the same, half an hour later', 799, 0.5, true],
    ['half used after half the time', 501, 0.5, true],
    ['little is left at the end', 190, 0.01, false],
    ['the window is over', 0, 0, true],
  ])('%s', (_, remaining, timeLeft, allowed) => {
    expect(mayPoll(standing(remaining, timeLeft), NOW_MS)).toBe(allowed);
  });

  it('is not held up by what is not known', () => {
    expect(mayPoll(undefined, NOW_MS)).toBe(true);
    expect(parseRateStanding(new Headers({ 'x-ratelimit-limit': '5000' }))).toBeUndefined();
  });
});

describe('SpentPoints', () => {
  it('never lets any minute have more than the limit', () => {
    const moments = fc.array(
      fc.record({ waitMs: fc.nat(9_000), points: fc.integer({ min: 1, max: 9 }) }),
    );
    fc.assert(
      fc.property(moments, (asked) => {
        const spent = new SpentPoints();
        const taken: { atMs: number; points: number }[] = [];
        let atMs = 0;
        for (const { waitMs, points } of asked) {
          atMs += waitMs;
          if (spent.take(points, 30, atMs)) taken.push({ atMs, points });
        }
        for (const { atMs: endMs } of taken) {
          const minute = taken.filter((one) => one.atMs <= endMs && endMs - one.atMs < 60_000);
          expect(minute.reduce((sum, one) => sum + one.points, 0)).toBeLessThanOrEqual(30);
        }
      }),
    );
  });

  it('never lets any minute of GitHub’s have more, however long each takes to get there', () => {
    const limit = 10;
    const asked = fc.array(
      fc.record({ waitMs: fc.nat(2_000), thereMs: fc.nat(9_000), backMs: fc.nat(900) }),
      { minLength: 100, maxLength: 300 },
    );
    fc.assert(
      fc.property(asked, (calls) => {
        const spent = new SpentPoints();
        const arrivals: number[] = [];
        const ends: number[] = [];
        let nowMs = 0;
        for (const { waitMs, thereMs, backMs } of calls) {
          nowMs += waitMs;
          ends.sort((a, b) => a - b);
          while ((ends[0] ?? nowMs) < nowMs) spent.renew(ends.shift() ?? nowMs);
          if (!spent.take(1, limit, nowMs)) continue;
          arrivals.push(nowMs + thereMs);
          ends.push(nowMs + thereMs + backMs);
        }
        for (const fromMs of arrivals) {
          const minute = arrivals.filter((atMs) => atMs >= fromMs && atMs - fromMs < 60_000);
          expect(minute.length).toBeLessThanOrEqual(limit);
        }
      }),
    );
  });

  it('forgets what is a minute old', () => {
    const spent = new SpentPoints();
    expect(spent.take(pointsOf('POST'), 5, 0)).toBe(true);
    expect(spent.take(pointsOf('GET'), 5, 59_999)).toBe(false);
    expect(spent.take(pointsOf('GET'), 5, 60_000)).toBe(true);
    expect(spent.lastMinute(60_000)).toBe(1);
  });
});

describe('requests underway', () => {
  const LIMIT = 5;
  const request = fc.record({
    ...{ waitMs: fc.nat(9_000), countedAfterMs: fc.nat(20_000), answeredAfterMs: fc.nat(20_000) },
  });

  it("keep any minute of GitHub's within the limit, whenever it counts them", () => {
    fc.assert(
      fc.property(fc.array(request, { minLength: 30, maxLength: 60 }), (asked) => {
        const spent = new SpentPoints();
        let underway: { readonly atMs: number; readonly end: (nowMs: number) => void }[] = [];
        const countedMs: number[] = [];
        let nowMs = 0;
        for (const { waitMs, countedAfterMs, answeredAfterMs } of asked) {
          nowMs += waitMs;
          const answered = underway.filter(({ atMs }) => atMs <= nowMs);
          for (const { atMs, end } of answered.toSorted((a, b) => a.atMs - b.atMs)) end(atMs);
          underway = underway.filter(({ atMs }) => atMs > nowMs);
          if (spent.lastMinute(nowMs) === LIMIT) continue;
          const atMs = nowMs + countedAfterMs + answeredAfterMs;
          underway.push({ atMs, end: spent.begin(1) });
          countedMs.push(nowMs + countedAfterMs);
        }
        for (const fromMs of countedMs) {
          const minute = countedMs.filter((ms) => ms >= fromMs && ms - fromMs < 60_000);
          expect(minute.length).toBeLessThanOrEqual(LIMIT);
        }
      }),
    );
  });
});

describe('AnswerCache', () => {
  const answer = (status: number, body: string, etag?: string) =>
    new Response(status === 304 ? null : body, { status, headers: etag ? { etag } : {} });

  it('says what it knows, and takes the old answer where it still holds', async () => {
    const cache = new AnswerCache();
    const asked: (string | null)[] = [];
    const answers = [answer(200, 'one', '"1"'), answer(304, ''), answer(200, 'two', '"2"')];
    const ask = async (caller: string) => {
      const text = await cache.fetch({ caller, url: '/x', init: {} }, async ({ headers }) => {
        asked.push(new Headers(headers).get('if-none-match'));
        return answers.shift() ?? answer(500, '');
      });
      return text.text();
    };
    expect([await ask('5'), await ask('5'), await ask('5')]).toEqual(['one', 'one', 'two']);
    await ask('6');
    expect(asked).toEqual([null, '"1"', '"1"', null]);
  });

  it('keeps nothing of a write or a failure, and no more than it may', async () => {
    const cache = new AnswerCache(5);
    const ask = (url: string, method: string, status: number) =>
      cache.fetch({ caller: '5', url, init: { method } }, async () => answer(status, 'abc', '"1"'));
    await ask('/x', 'POST', 200);
    await ask('/x', 'GET', 404);
    expect(cache.bytes).toBe(0);
    await ask('/x', 'GET', 200);
    await ask('/y', 'GET', 200);
    expect(cache.bytes).toBe(3);
  });
});
