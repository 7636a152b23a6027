/**
 * Spot prices, drawn and not measured: each zone's share of the on-demand price wanders around a mean
 * of its own between 20 and 60 %, hour by hour.
 */
import { createChance } from './seeded.ts';
import { durationMs, type Trace } from './traces.ts';

const HOUR_MS = 3_600_000;
const LOWEST_SHARE = 0.2;
const HIGHEST_SHARE = 0.6;
/** How much of its distance from the mean a price makes up in an hour. */
const PULL = 0.05;
const SWING = 0.015;

export type SpotMarket = (zone: string, atMs: number) => number;

/** In dollars per hour. */
export function drawMarket(trace: Trace, seed: number): SpotMarket {
  const chance = createChance(seed);
  const hours = Math.ceil(durationMs(trace) / HOUR_MS) + 1;
  const shares = new Map(
    trace.zones.map(({ name }) => {
      const mean = 0.25 + 0.2 * chance.next();
      let share = mean;
      const series = Array.from({ length: hours }, () => {
        share += PULL * (mean - share) + SWING * chance.normal();
        share = Math.min(HIGHEST_SHARE, Math.max(LOWEST_SHARE, share));
        return share;
      });
      return [name, series] as const;
    }),
  );
  return (zone, atMs) => {
    const share = shares.get(zone)?.[Math.floor(atMs / HOUR_MS)] ?? HIGHEST_SHARE;
    return share * trace.machine.onDemandUsd;
  };
}
