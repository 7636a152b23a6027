/**
 * Many writes in one round trip, none of them held back: what comes while one batch is under way
 * goes with the next.
 *
 *   idle ──item──→ under way ──done──→ idle
 *                   │  ▲ items gather   │
 *                   └──┴──next batch────┘
 */
export interface Batching<T> {
  readonly maxItems: number;
  readonly maxWaiting: number;
  /** Takes all of them or none; whoever added one is told what became of its batch. */
  readonly send: (items: readonly T[]) => Promise<unknown>;
}

interface Waiting<T> extends PromiseWithResolvers<void> {
  readonly item: T;
}

/** Adds an item; settles with its batch. Rejects at once while `maxWaiting` wait already. */
export function gatherBatches<T>({
  maxItems,
  maxWaiting,
  send,
}: Batching<T>): (item: T) => Promise<void> {
  let waiting: Waiting<T>[] = [];
  let underWay = false;
  const next = async () => {
    underWay = true;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, maxItems);
      waiting = waiting.slice(maxItems);
      try {
        await send(batch.map(({ item }) => item));
        for (const { resolve } of batch) resolve();
      } catch (err) {
        for (const { reject } of batch) reject(err);
      }
    }
    underWay = false;
  };
  return (item) => {
    if (waiting.length >= maxWaiting)
      return Promise.reject(new Error(`${maxWaiting} items wait for their batch.`));
    const added = { item, ...Promise.withResolvers<void>() };
    waiting.push(added);
    if (!underWay) void next();
    return added.promise;
  };
}
