/**
 * The end of a VM's stay on a host, as those see it who wait for that: the agent, and the VM itself
 * where it moves back before its network here is gone.
 *
 *   left ──stragglers may still come──→ gone
 *     └──the VM comes back──────────────→ gone at once
 */
import { setTimeout as sleep } from 'node:timers/promises';

/** How long packets for it may still be on their way here. */
const STRAGGLERS_MS = 2_000;
const WAY_LIMIT_MS = 5_000;

export class Farewell {
  readonly #gone = Promise.withResolvers<void>();
  readonly #returning = new AbortController();

  /** Never rejects. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  complete(): void {
    this.#gone.resolve();
  }

  async awaitStragglers(): Promise<void> {
    const { signal } = this.#returning;
    await sleep(STRAGGLERS_MS, undefined, { ref: false, signal }).catch(() => undefined);
  }

  /** Resolves when nothing is left here of its earlier stay, or after WAY_LIMIT_MS. */
  async makeWay(): Promise<void> {
    this.#returning.abort();
    await Promise.race([this.gone, sleep(WAY_LIMIT_MS, undefined, { ref: false })]);
  }
}
