/** The newest price of each type in each zone, of what DescribeSpotPriceHistory lists. Pure. */
import { z } from 'zod';
import type { SpotPrice } from './compose-offers.ts';

const SpotPriceRow = z.object({
  InstanceType: z.string().max(64),
  AvailabilityZone: z.string().max(64),
  SpotPrice: z.coerce.number().positive(),
  Timestamp: z.date(),
});

/** Rows that lack something are left out. */
export function readSpotPrices(rows: readonly unknown[]): readonly SpotPrice[] {
  const newest = new Map<string, z.infer<typeof SpotPriceRow>>();
  for (const raw of rows) {
    const row = SpotPriceRow.safeParse(raw).data;
    if (row === undefined) continue;
    const key = `${row.InstanceType}/${row.AvailabilityZone}`;
    const known = newest.get(key);
    if (known === undefined || known.Timestamp < row.Timestamp) newest.set(key, row);
  }
  return [...newest.values()].map((row) => ({
    type: row.InstanceType,
    zone: row.AvailabilityZone,
    usdPerHour: row.SpotPrice,
  }));
}
