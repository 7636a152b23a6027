/** Prices of each type in each zone, of what DescribeSpotPriceHistory lists. Pure. */
import { z } from 'zod';
import type { SpotPrice } from './compose-offers.ts';

const SpotPriceRow = z.object({
  InstanceType: z.string().max(64),
  AvailabilityZone: z.string().max(64),
  SpotPrice: z.coerce.number().positive(),
  Timestamp: z.date(),
});
type SpotPriceRow = z.infer<typeof SpotPriceRow>;

/**
 * The newest, and the highest since `sinceMs`: EC2 lists the row that held before the window, too.
 * Rows that lack something are left out.
 */
export function readSpotPrices(rows: readonly unknown[], sinceMs: number): readonly SpotPrice[] {
  const known = rows.flatMap((raw) => SpotPriceRow.safeParse(raw).data ?? []);
  const series = Map.groupBy(known, (row) => `${row.InstanceType}/${row.AvailabilityZone}`);
  return [...series.values()].flatMap((unsorted) => {
    const sorted = unsorted.toSorted((a, b) => b.Timestamp.getTime() - a.Timestamp.getTime());
    const [newest] = sorted;
    if (newest === undefined) return [];
    return [
      {
        type: newest.InstanceType,
        zone: newest.AvailabilityZone,
        usdPerHour: newest.SpotPrice,
        highUsdPerHour: highest(sorted, sinceMs),
      },
    ];
  });
}

/** Of rows of one price, the newest first: each holds until the one before it in the list. */
function highest(rows: readonly SpotPriceRow[], sinceMs: number): number {
  const before = rows.findIndex(({ Timestamp }) => Timestamp.getTime() <= sinceMs);
  const held = before < 0 ? rows : rows.slice(0, before + 1);
  return Math.max(...held.map((row) => row.SpotPrice));
}
