import { expect, it } from 'vitest';
import type { Offer } from '../../providers/provider.ts';
import { riskUsdPerHour, weighedUsdPerHour } from './offer-cost.ts';

const COSTS = { usdPerReclaim: 7.3, scorePremium: 0.2 };
const offer = (over: Partial<Offer>): Offer => ({
  ...{ id: 'x', spot: true, pricePerHourUsd: 0.1, place: 'a' },
  ...{ capacity: { vcpus: 4, memoryMib: 16_384, diskGib: 100 } },
  ...over,
});

it.each([
  ['nothing is known of it', {}, 0],
  ['a fifth of its like is taken back in a month', { reclaimsPerMonth: 0.2 }, 0.002],
  ['its place is as good as can be', { placementScore: 10 }, 0],
  ['its place is as bad as can be', { placementScore: 1 }, 0.02],
  ['both', { reclaimsPerMonth: 0.2, placementScore: 1 }, 0.022],
])('counts what is lost when %s', (_, over, expected) => {
  expect(riskUsdPerHour(offer(over), COSTS)).toBeCloseTo(expected, 10);
  expect(weighedUsdPerHour(offer(over), COSTS)).toBeCloseTo(0.1 + expected, 10);
});
