/**
 * What is not tried for a while, per (type, zone, spot or on-demand). No clock: times are arguments.
 *
 *   closed ──failure──→ open, for longer each time ──time──→ half-open ──success──→ closed
 *                         ↑                                    └──failure──┐
 *                         └────────────────────────────────────────────────┘
 */
import type { ShutOffer } from '../provider.ts';

const FIRST_REST_MS = 180_000;
const LONGEST_REST_MS = 3_600_000;
/** A key that failed once and was left alone for so long is as good as new. */
const FORGET_AFTER_MS = 6 * 3_600_000;
const MAX_ENTRIES = 5_000;

interface Entry {
  readonly failures: number;
  readonly untilMs: number;
  readonly why: string;
}

export class CircuitBreaker {
  readonly #entries = new Map<string, Entry>();

  isOpen(offerId: string, nowMs: number): boolean {
    const entry = this.#entries.get(offerId);
    return entry !== undefined && nowMs < entry.untilMs;
  }

  /** Rests are doubled from FIRST_REST_MS up to LONGEST_REST_MS. */
  fail(offerId: string, why: string, nowMs: number): void {
    this.#forget(nowMs);
    const failures = (this.#entries.get(offerId)?.failures ?? 0) + 1;
    const restMs = Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** (failures - 1));
    this.#entries.delete(offerId);
    this.#entries.set(offerId, { failures, untilMs: nowMs + restMs, why });
  }

  succeed(offerId: string): void {
    this.#entries.delete(offerId);
  }

  open(nowMs: number): readonly ShutOffer[] {
    return [...this.#entries].flatMap(([offerId, { why, untilMs }]) =>
      nowMs < untilMs ? [{ offerId, why, untilMs }] : [],
    );
  }

  #forget(nowMs: number): void {
    for (const [key, { untilMs }] of this.#entries)
      if (nowMs - untilMs > FORGET_AFTER_MS || this.#entries.size >= MAX_ENTRIES)
        this.#entries.delete(key);
  }
}
