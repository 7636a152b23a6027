import { expect, it } from 'vitest';
import { readSpotPrices } from './spot-prices.ts';

const row = (SpotPrice: string, at: string, over = {}) => ({
  ...{ InstanceType: 'm8i.large', AvailabilityZone: 'a', SpotPrice, Timestamp: new Date(at) },
  ...over,
});

it('takes the newest price of each type and zone, in whatever order they come', () => {
  const rows = [
    row('0.2', '2026-11-01T10:00:00Z'),
    row('0.3', '2026-11-01T11:00:00Z'),
    row('0.1', '2026-11-01T09:00:00Z'),
    row('0.5', '2026-11-01T09:00:00Z', { AvailabilityZone: 'b' }),
    row('none', '2026-11-01T12:00:00Z'),
    { InstanceType: 'm8i.large' },
  ];
  expect(readSpotPrices(rows)).toEqual([
    { type: 'm8i.large', zone: 'a', usdPerHour: 0.3 },
    { type: 'm8i.large', zone: 'b', usdPerHour: 0.5 },
  ]);
});
