import type { StoreUsage } from './object-backend.ts';

/** Counts what a backend asked of its store. */
export class UsageCounter {
  readonly #counts = { puts: 0, gets: 0, lists: 0, removes: 0, bytesUp: 0, bytesDown: 0 };

  add(kind: keyof StoreUsage, amount = 1): void {
    this.#counts[kind] += amount;
  }

  read(): StoreUsage {
    return { ...this.#counts };
  }
}
