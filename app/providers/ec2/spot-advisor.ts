/**
 * How often EC2 takes types back: the public file of its Spot Instance Advisor, which knows bands only
 * (below 5 %, 5–10 % … above 20 % of the instances in the last month). Pure.
 *
 *   { ranges: [{ index, max }], spot_advisor: { REGION: { Linux: { TYPE: { r: index } } } } }
 *
 * https://aws.amazon.com/ec2/spot/instance-advisor/
 */
import { z } from 'zod';

const ALL_PERCENT = 100;

const Band = z.object({ index: z.int(), max: z.number().min(0).max(ALL_PERCENT) });

const Advice = z.object({
  ranges: z.array(Band).max(20),
  spot_advisor: z.record(
    z.string(),
    z.object({ Linux: z.record(z.string(), z.object({ r: z.int() })).optional() }),
  ),
});

/** Of each type in the region, the middle of its band, as a share. Throws for what has another form. */
export function readReclaims(raw: unknown, region: string): ReadonlyMap<string, number> {
  const { ranges, spot_advisor: advice } = Advice.parse(raw);
  const shares = sharesOf(ranges);
  const types = Object.entries(advice[region]?.Linux ?? {});
  return new Map(
    types.flatMap(([type, { r }]): [string, number][] => {
      const share = shares.get(r);
      return share === undefined ? [] : [[type, share]];
    }),
  );
}

/** The last band has no end that says anything: it is taken to be as wide as what lies below it. */
function sharesOf(ranges: readonly z.infer<typeof Band>[]): ReadonlyMap<number, number> {
  let from = 0;
  return new Map(
    ranges
      .toSorted((a, b) => a.max - b.max)
      .map(({ index, max }) => {
        const to = max === ALL_PERCENT ? Math.min(ALL_PERCENT, 2 * from) : max;
        const share = (from + to) / 2 / ALL_PERCENT;
        from = max;
        return [index, share] as const;
      }),
  );
}
