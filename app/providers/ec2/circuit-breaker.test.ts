import { expect, it } from 'vitest';
import { CircuitBreaker } from './circuit-breaker.ts';

const MINUTE_MS = 60_000;

it('opens at a failure, rests longer after each, and is closed by success', () => {
  const breaker = new CircuitBreaker();
  const restOf = (nowMs: number) => {
    let untilMs = nowMs;
    while (breaker.isOpen('a', untilMs)) untilMs += MINUTE_MS;
    return (untilMs - nowMs) / MINUTE_MS;
  };
  const rests = [0, 10, 30, 60, 120, 240, 480].map((minutes) => {
    breaker.fail('a', 'none', minutes * MINUTE_MS);
    return restOf(minutes * MINUTE_MS);
  });
  expect(rests).toEqual([3, 6, 12, 24, 48, 60, 60]);
  breaker.succeed('a');
  expect(breaker.isOpen('a', 480 * MINUTE_MS)).toBe(false);
  breaker.fail('a', 'none', 500 * MINUTE_MS);
  expect(restOf(500 * MINUTE_MS)).toBe(3);
});

it('knows one offer from another, and says why', () => {
  const breaker = new CircuitBreaker();
  breaker.fail('a', 'InsufficientInstanceCapacity', 0);
  expect(breaker.isOpen('b', 0)).toBe(false);
  expect(breaker.open(0)).toEqual([
    { offerId: 'a', why: 'InsufficientInstanceCapacity', untilMs: 180_000 },
  ]);
  expect(breaker.open(180_000)).toEqual([]);
});

it('forgets what failed long ago, and never grows without end', () => {
  const breaker = new CircuitBreaker();
  breaker.fail('a', 'none', 0);
  breaker.fail('b', 'none', 24 * 60 * MINUTE_MS);
  breaker.fail('a', 'none', 24 * 60 * MINUTE_MS);
  expect(breaker.isOpen('a', 24 * 60 * MINUTE_MS + 4 * MINUTE_MS)).toBe(false);
  for (let n = 0; n < 20_000; n += 1) breaker.fail(`o${n}`, 'none', 0);
  expect(breaker.open(0).length).toBeLessThanOrEqual(5_000);
});
