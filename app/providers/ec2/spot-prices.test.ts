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
  expect(readSpotPrices(rows, Date.parse('2026-11-01T11:00:00Z'))).toEqual([
    { type: 'm8i.large', zone: 'a', usdPerHour: 0.3, highUsdPerHour: 0.3 },
    { type: 'm8i.large', zone: 'b', usdPerHour: 0.5, highUsdPerHour: 0.5 },
  ]);
});

it.each([
  ['in the window', '10:30', 0.4],
  ['before it, and held into it', '09:30', 0.4],
  ['before it, and ended before it', '11:00', 0.2],
  ['before all that is listed', '08:00', 0.9],
])('knows the highest price when that began %s', (_, since, highUsdPerHour) => {
  const rows = [
    row('0.9', '2026-11-01T08:30:00Z'),
    row('0.4', '2026-11-01T09:00:00Z'),
    row('0.2', '2026-11-01T11:00:00Z'),
  ];
  const sinceMs = Date.parse(`2026-11-01T${since}:00Z`);
  expect(readSpotPrices(rows, sinceMs)).toMatchObject([{ usdPerHour: 0.2, highUsdPerHour }]);
});
