import { describe, expect, test } from 'vitest';
import { RANGE_PAGES } from '../image/block-image.ts';
import { BlockHeat, HEAT_HALF_LIFE_MS, HEAT_TICK_MS } from '../image/heat.ts';
import { COLD_POLICY, chooseCold, requiredQuietMs } from './choose-cold.ts';

const TICKS_PER_S = 1_000 / HEAT_TICK_MS;

describe('heat', () => {
  test('changes within one tick are one', () => {
    const heat = new BlockHeat(1);
    for (let change = 0; change < 5; change += 1) heat.touch(0, 0);
    expect([heat.countAt(0, 0), heat.lastTick(0)]).toEqual([expect.closeTo(1, 2), 0]);
  });

  test('counts add up and halve with time', () => {
    const heat = new BlockHeat(2);
    for (let tick = 0; tick < 8; tick += 1) heat.touch(1, tick);
    expect(heat.countAt(1, 7)).toBeCloseTo(8, 0);
    expect(heat.countAt(1, 7 + HEAT_HALF_LIFE_MS / HEAT_TICK_MS)).toBeCloseTo(4, 0);
    expect([heat.countAt(0, 7), heat.lastTick(0)]).toEqual([0, undefined]);
  });
});

test.each([
  [0, COLD_POLICY.quietMs],
  [1, COLD_POLICY.quietMs],
  [2, 2 * COLD_POLICY.quietMs],
  [3, 4 * COLD_POLICY.quietMs],
  [40, COLD_POLICY.maxQuietMs],
])('a page that changed %d times has to rest %d ms', (count, ms) => {
  expect(requiredQuietMs(count)).toBe(ms);
});

/** A guest of 2,000 ranges, pulsed once a second for two minutes after all of it was written once. */
function simulate(isHot: (page: number) => boolean): BlockHeat {
  const pages = 2_000 * RANGE_PAGES;
  const heat = new BlockHeat(pages);
  for (let page = 0; page < pages; page += 1) heat.touch(page, 0);
  for (let second = 1; second <= 120; second += 1) {
    for (let page = 0; page < pages; page += 1) {
      // A hot page changes in every third pulse, by no pattern; others once in half an hour.
      const chance = scatter(page * 131 + second) % 1_800;
      if (isHot(page) ? chance < 600 : chance === 0) heat.touch(page, second * TICKS_PER_S);
    }
  }
  return heat;
}

function scatter(n: number): number {
  const mixed = Math.imul(n ^ (n >>> 15), 0x2c1b3c6d);
  return (Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39) >>> 8) & 0xffffff;
}

function* allRanges(): Generator<number> {
  for (let range = 0; range < 2_000; range += 1) yield range;
}

test('a hot set of 5 % in one place is told from the rest', () => {
  const heat = simulate((page) => page < 100 * RANGE_PAGES);
  const tick = 120 * TICKS_PER_S;
  const chosen = chooseCold({ candidates: allRanges(), heat, tick, limit: 2_000 });
  expect(chosen.filter(({ range }) => range < 100)).toEqual([]);
  expect(chosen.length).toBeGreaterThan(0.98 * 1_900);
});

test('a hot set of 5 % scattered over all ranges keeps no range from being sealed', () => {
  const isHot = (page: number) => scatter(page) % 20 === 0;
  const heat = simulate(isHot);
  const chosen = chooseCold({
    candidates: allRanges(),
    heat,
    tick: 120 * TICKS_PER_S,
    limit: 2_000,
  });
  expect(chosen.length).toBeGreaterThan(0.98 * 2_000);
  const hotPages = chosen.reduce((sum, range) => sum + range.hotPages, 0);
  expect(hotPages / (2_000 * RANGE_PAGES)).toBeGreaterThan(0.035);
  expect(hotPages / (2_000 * RANGE_PAGES)).toBeLessThan(0.065);
});

test('what was hot becomes cold when it rests long enough', () => {
  const heat = new BlockHeat(RANGE_PAGES);
  for (let tick = 0; tick < 100; tick += 1) heat.touch(0, tick);
  for (let page = 1; page < RANGE_PAGES; page += 1) heat.touch(page, 99);
  const at = (ms: number) =>
    chooseCold({ candidates: [0], heat, tick: 99 + ms / HEAT_TICK_MS, limit: 1 });
  expect(at(COLD_POLICY.quietMs - HEAT_TICK_MS)).toEqual([]);
  expect(at(COLD_POLICY.quietMs)).toEqual([{ range: 0, hotPages: 1 }]);
  expect(at(COLD_POLICY.maxQuietMs)).toEqual([{ range: 0, hotPages: 0 }]);
});

test('the coldest come first, and no more than asked for', () => {
  const heat = new BlockHeat(4 * RANGE_PAGES);
  for (const page of [0, 1, RANGE_PAGES]) heat.touch(page, 0);
  const choose = (limit: number) =>
    chooseCold({ candidates: [0, 1, 2, 3], heat, tick: 0, limit }).map(({ range }) => range);
  expect(choose(4)).toEqual([2, 3, 1, 0]);
  expect(choose(3)).toEqual([2, 3, 1]);
  expect(choose(1)).toEqual([2]);
});
