/**
 * How often each page of a block changes: the access pattern that is learned. A change adds one to
 * the page's count, at most once a tick; counts halve as time goes by.
 */

/** One step of the heat's clock. Changes within one step count as one. */
export const HEAT_TICK_MS = 100;
/** After it, what was changed counts half as much. */
export const HEAT_HALF_LIFE_MS = 60_000;
const HALF_LIFE_TICKS = HEAT_HALF_LIFE_MS / HEAT_TICK_MS;

export class BlockHeat {
  /** Tick of the last change plus one; 0: it never changed. */
  readonly #last: Uint32Array;
  readonly #count: Float32Array;

  constructor(pages: number) {
    this.#last = new Uint32Array(pages);
    this.#count = new Float32Array(pages);
  }

  touch(page: number, tick: number): void {
    const last = this.#last[page] ?? 0;
    if (last === tick + 1) return;
    const count = this.#count[page] ?? 0;
    this.#count[page] = 1 + (last === 0 ? 0 : count * decay(tick + 1 - last));
    this.#last[page] = tick + 1;
  }

  /** The tick of the page's last change; undefined: it never changed. */
  lastTick(page: number): number | undefined {
    const last = this.#last[page] ?? 0;
    return last === 0 ? undefined : last - 1;
  }

  /** Changes of the page so far, those of long ago counting less. */
  countAt(page: number, tick: number): number {
    const last = this.#last[page] ?? 0;
    return last === 0 ? 0 : (this.#count[page] ?? 0) * decay(tick + 1 - last);
  }
}

function decay(ticks: number): number {
  return 2 ** (-ticks / HALF_LIFE_TICKS);
}
