/** A token bucket per caller, kept for a bounded number of callers. No clock: time is an argument. */
export class RateLimit {
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>();
  readonly #burst: number;
  readonly #perMs: number;
  readonly #maxCallers: number;

  constructor(limits: {
    readonly burst: number;
    readonly perMinute: number;
    readonly maxCallers: number;
  }) {
    this.#burst = limits.burst;
    this.#perMs = limits.perMinute / 60_000;
    this.#maxCallers = limits.maxCallers;
  }

  /** True when the caller may go on, which costs one token. */
  take(caller: string, nowMs: number): boolean {
    const known = this.#buckets.get(caller);
    const earned = known === undefined ? 0 : Math.max(0, nowMs - known.atMs) * this.#perMs;
    const tokens = known === undefined ? this.#burst : Math.min(this.#burst, known.tokens + earned);
    this.#buckets.delete(caller);
    this.#evictOldest();
    this.#buckets.set(caller, { tokens: tokens >= 1 ? tokens - 1 : tokens, atMs: nowMs });
    return tokens >= 1;
  }

  #evictOldest(): void {
    if (this.#buckets.size < this.#maxCallers) return;
    const oldest = this.#buckets.keys().next();
    if (!oldest.done) this.#buckets.delete(oldest.value);
  }
}
