import { describe, expect, it } from 'vitest';
import { composeOffers, type Ec2Offer } from './compose-offers.ts';
import type { HostType } from './host-type.ts';
import { MAX_OVERRIDES, planAttempts, type Wanted } from './plan-attempts.ts';

function type(name: string, vcpus: number, over: Partial<HostType> = {}): HostType {
  return {
    ...{ name, vcpus, memoryMib: vcpus * 4096, arch: 'x64', spot: true },
    ...{ virtualization: 'nested', cpuVendor: 'GenuineIntel', ...over },
  };
}

function market(types: readonly HostType[], zones: readonly string[] = ['a', 'b']) {
  return composeOffers({
    ...{ types, zones, diskGib: 100 },
    spotPrices: types.flatMap(({ name, vcpus }) =>
      zones.map((zone) => {
        const usd = vcpus / 100;
        return { type: name, zone, usdPerHour: usd, highUsdPerHour: usd };
      }),
    ),
    onDemandUsdPerHour: Object.fromEntries(types.map(({ name, vcpus }) => [name, vcpus / 20])),
  });
}

const OFFERS = market([
  type('large', 8),
  type('medium', 4),
  type('metal', 96, { virtualization: 'metal' }),
]);

function attempts(over: Partial<Wanted> = {}): string[][] {
  const offer = OFFERS.find(({ id }) => id === 'medium/a/spot');
  if (offer === undefined) throw new Error('no such offer');
  const fallbacks = ['type', 'zone', 'on-demand'] as const;
  return planAttempts({
    ...{ offer, offers: OFFERS, fallbacks, maxUsdPerHour: 10, isShut: () => false },
    ...over,
  }).map(({ offers }) => offers.map(({ id }) => id));
}

const shut = (ids: readonly string[]) => ({
  isShut: ({ id }: Ec2Offer) => ids.includes(id),
});

describe('planAttempts', () => {
  it('goes from types to zones to on demand, never smaller and never of another kind', () => {
    expect(attempts()).toEqual([
      ['medium/a/spot', 'large/a/spot'],
      ['medium/b/spot', 'large/b/spot'],
      ['medium/a/on-demand', 'medium/b/on-demand', 'large/a/on-demand', 'large/b/on-demand'],
    ]);
  });

  it.each([
    [[], [['medium/a/spot']]],
    [['type'], [['medium/a/spot', 'large/a/spot']]],
    [['zone'], [['medium/a/spot'], ['medium/b/spot']]],
    [['on-demand'], [['medium/a/spot'], ['medium/a/on-demand']]],
  ] as const)('keeps to what the operator allows: %j', (fallbacks, expected) => {
    expect(attempts({ fallbacks })).toEqual(expected);
  });

  it('leaves out what is shut or too dear', () => {
    const given = { ...shut(['medium/a/spot', 'large/a/spot']), maxUsdPerHour: 0.1 };
    expect(attempts(given)).toEqual([['medium/b/spot', 'large/b/spot']]);
    expect(attempts({ maxUsdPerHour: 0.001 })).toEqual([]);
  });

  it('asks for no more at once than a call takes', () => {
    const many = market(Array.from({ length: 50 }, (_, n) => type(`t${n}`, 4)));
    const [offer] = many;
    for (const list of attempts(offer === undefined ? {} : { offer, offers: many }))
      expect(list.length).toBeLessThanOrEqual(MAX_OVERRIDES);
  });
});
