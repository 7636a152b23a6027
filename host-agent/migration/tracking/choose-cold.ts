/**
 * Which ranges are worth sealing into the chunk store: those that will probably not change again
 * soon. Pure.
 *
 * The longer a page has rested, the colder it is; but one that changed often before must rest longer,
 * twice as long for each change that counts (heat.ts: changes of long ago count less). A range with a
 * few hot pages is worth sealing all the same: the hot ones are sent from the source at the end.
 */
import { RANGE_PAGES } from '../image/block-image.ts';
import { type BlockHeat, HEAT_TICK_MS } from '../image/heat.ts';

export interface ColdPolicy {
  /** The rest of a page that changed once. */
  readonly quietMs: number;
  readonly maxQuietMs: number;
  /** In a range that is cold nevertheless. */
  readonly maxHotPages: number;
}

export const COLD_POLICY: ColdPolicy = { quietMs: 5_000, maxQuietMs: 120_000, maxHotPages: 4 };

export interface ColdRange {
  readonly range: number;
  readonly hotPages: number;
}

/**
 * Of the candidates, at most `limit`, those with the fewest hot pages first. Looks no further once
 * there are enough without any, so candidates should not come in the same order each time.
 */
export function chooseCold(request: {
  readonly candidates: Iterable<number>;
  readonly heat: Pick<BlockHeat, 'lastTick' | 'countAt'>;
  readonly tick: number;
  readonly limit: number;
  readonly policy?: ColdPolicy;
}): readonly ColdRange[] {
  const { candidates, heat, tick, limit, policy = COLD_POLICY } = request;
  const cold: ColdRange[] = [];
  const mixed: ColdRange[] = [];
  for (const range of candidates) {
    if (cold.length >= limit) break;
    const hotPages = countHotPages(range, { heat, tick, policy });
    if (hotPages === 0) cold.push({ range, hotPages });
    else if (hotPages <= policy.maxHotPages) mixed.push({ range, hotPages });
  }
  mixed.sort((a, b) => a.hotPages - b.hotPages);
  return [...cold, ...mixed].slice(0, limit);
}

/** The rest that a page needs before it counts as cold. */
export function requiredQuietMs(count: number, policy: ColdPolicy = COLD_POLICY): number {
  return Math.min(policy.maxQuietMs, policy.quietMs * 2 ** Math.max(0, count - 1));
}

function countHotPages(
  range: number,
  request: {
    readonly heat: Pick<BlockHeat, 'lastTick' | 'countAt'>;
    readonly tick: number;
    readonly policy: ColdPolicy;
  },
): number {
  const { heat, tick, policy } = request;
  let hot = 0;
  for (let page = range * RANGE_PAGES; page < (range + 1) * RANGE_PAGES; page += 1) {
    const last = heat.lastTick(page);
    if (last === undefined) continue;
    // As it was when it last changed: resting must not also make the rest that it needs shorter.
    const required = requiredQuietMs(heat.countAt(page, last), policy);
    if ((tick - last) * HEAT_TICK_MS < required) hot += 1;
  }
  return hot;
}
