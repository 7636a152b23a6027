import { expect, it } from 'vitest';
import type { MarketView } from '../api/views.ts';
import { presentMarket } from './present-market.ts';

const NOW_MS = 1_000_000;
const capacity = { vcpus: 4, memoryMib: 14_745, diskGib: 166 };
const MARKET: MarketView = {
  provider: 'ec2',
  offers: [
    {
      ...{ id: 'm8i.xlarge/a/spot', capacity, spot: true, pricePerHourUsd: 0.08, place: 'a' },
      ...{ reclaimsPerMonth: 0.08, placementScore: 7 },
    },
    { id: 'm8i.xlarge/a/on-demand', capacity, spot: false, pricePerHourUsd: 0.3, place: 'a' },
  ],
  shut: [
    { offerId: 'm8i.xlarge/b/spot', why: 'InsufficientInstanceCapacity', untilMs: NOW_MS + 60_000 },
  ],
  usdPerHour: 0.16,
  maxUsdPerHour: 2,
  usdToday: 1.25,
  maxUsdPerDay: 20,
  decisions: [
    {
      ...{ atMs: NOW_MS - 5_000, kind: 'empty', subject: 'i-1', failed: null },
      why: 'The others have room for its 1 VMs: ($0.3 − $0) × 4 h',
    },
  ],
  starts: [
    {
      ...{ machineId: 'i-1', offerId: 'm8i.xlarge/a/spot', launchedAtMs: NOW_MS },
      ...{ joinedAtMs: NOW_MS + 20_000, readyAtMs: NOW_MS + 25_000, firstVmAtMs: null },
    },
  ],
};

it('shows prices, what is not on sale, and each decision with its arithmetic', () => {
  expect(presentMarket(MARKET, { rows: 1, nowMs: NOW_MS })).toBe(
    `Provider: ec2. The fleet costs $0.1600 of $2.0000 per hour, and has cost $1.2500 of $20.0000 today (UTC).

OFFER              VCPU  MEMORY  DISK     PER HOUR  PER VCPU  KIND  PLACE  RISK
m8i.xlarge/a/spot  4     14 GiB  166 GiB  $0.0800   $0.0200   spot  a      8 %/month, score 7
… and 1 more: --rows 2

NOT NOW            WHY                           FOR
m8i.xlarge/b/spot  InsufficientInstanceCapacity  1 min 0 s

DECIDED    WHAT   ABOUT  WHY
5.0 s ago  empty  i-1    The others have room for its 1 VMs: ($0.3 − $0) × 4 h

STARTED  OFFER              JOIN    FETCH  FIRST VM  ALL
i-1      m8i.xlarge/a/spot  20.0 s  5.0 s  -         -`,
  );
});

it('says so when nothing is sold, and what failed', () => {
  const [decision] = MARKET.decisions;
  const failed = decision === undefined ? [] : [{ ...decision, failed: 'EC2 is away.' }];
  const market = { ...MARKET, offers: [], shut: [], usdPerHour: null, decisions: failed };
  const text = presentMarket(market, { rows: 5, nowMs: NOW_MS });
  expect(text).toContain('Provider: ec2\n\nNothing is on sale.');
  expect(text).toContain('(failed: EC2 is away.)');
});
