import { expect, test } from 'vitest';
import { gatherBatches } from './batches.ts';

/** A `send` whose batches end when the test says so. */
function heldSends() {
  const sent: { readonly items: readonly number[]; readonly end: PromiseWithResolvers<void> }[] =
    [];
  const send = (items: readonly number[]) => {
    const end = Promise.withResolvers<void>();
    sent.push({ items, end });
    return end.promise;
  };
  return { sent, send, items: () => sent.map(({ items }) => items) };
}

test('the first goes at once, what comes meanwhile goes together, in order, in bounded batches', async () => {
  const { sent, send, items } = heldSends();
  const add = gatherBatches({ maxItems: 3, maxWaiting: 9, send });
  const added = [1, 2, 3, 4, 5].map(add);
  expect(items()).toEqual([[1]]);
  sent[0]?.end.resolve();
  await added[0];
  expect(items()).toEqual([[1], [2, 3, 4]]);
  sent[1]?.end.resolve();
  await added[3];
  expect(items()).toEqual([[1], [2, 3, 4], [5]]);
  sent[2]?.end.resolve();
  await added[4];
  const later = add(6);
  expect(items().at(-1)).toEqual([6]);
  sent[3]?.end.resolve();
  await later;
});

test('a batch that fails fails for its own items only', async () => {
  const { sent, send } = heldSends();
  const add = gatherBatches({ maxItems: 10, maxWaiting: 9, send });
  const outcomes = Promise.allSettled([1, 2, 3].map(add));
  sent[0]?.end.reject(new Error('away'));
  await expect.poll(() => sent.length).toBe(2);
  sent[1]?.end.resolve();
  expect((await outcomes).map(({ status }) => status)).toEqual([
    'rejected',
    'fulfilled',
    'fulfilled',
  ]);
});

test('what waits is bounded', async () => {
  const { sent, send } = heldSends();
  const add = gatherBatches({ maxItems: 1, maxWaiting: 1, send });
  const outcomes = Promise.allSettled([1, 2, 3].map(add));
  sent[0]?.end.resolve();
  await expect.poll(() => sent.length).toBe(2);
  sent[1]?.end.resolve();
  expect((await outcomes).map(({ status }) => status)).toEqual([
    'fulfilled',
    'fulfilled',
    'rejected',
  ]);
});
