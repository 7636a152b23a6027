import { expect, it } from 'vitest';
import type { DeliveryAttempt } from '../../github/delivery-log.ts';
import { planRedeliveries } from './plan-redeliveries.ts';

const NOW_MS = 100 * 60_000;
const WANTED = new Set(['workflow_job']);

/** Each number: a failed attempt so many minutes ago; a negative one was delivered. */
function attempts(guid: string, minutesAgo: readonly number[]): DeliveryAttempt[] {
  return minutesAgo.map((minutes, at) => ({
    id: Number(guid) * 100 + at,
    guid,
    atMs: NOW_MS - Math.abs(minutes) * 60_000,
    delivered: minutes < 0,
    event: 'workflow_job',
  }));
}

it.each([
  ['failed just now', [0.5], []],
  ['failed a minute ago', [1], [100]],
  ['failed again, and pauses longer', [9, 1], []],
  ['failed again, and has paused', [9, 2], [101]],
  ['the newest is named, whatever the order', [2, 9], [100]],
  ['delivered at the second attempt', [9, -8], []],
  ['tried often enough', [99, 98, 96, 92, 84, 68], []],
] as const)('%s', (_, minutesAgo, ids) => {
  expect(planRedeliveries(attempts('1', minutesAgo), WANTED, NOW_MS)).toEqual(ids);
});

it('takes the oldest first, and not too many at once', () => {
  const log = Array.from({ length: 50 }, (_, at) => attempts(String(at + 1), [10 + at])).flat();
  const ids = planRedeliveries(log, WANTED, NOW_MS);
  expect(ids).toHaveLength(20);
  expect(ids[0]).toBe(5_000);
});

it('leaves events alone that are of no use here', () => {
  const log = attempts('1', [5]).map((one) => ({ ...one, event: 'ping' }));
  expect(planRedeliveries(log, WANTED, NOW_MS)).toEqual([]);
});
