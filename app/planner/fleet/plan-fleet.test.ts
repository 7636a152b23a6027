import { describe, expect, it } from 'vitest';
import type { Offer } from '../../providers/provider.ts';
import {
  DEFAULT_FLEET_POLICY,
  type FleetMachine,
  type FleetPolicy,
  type FleetSeen,
  type FleetVm,
} from './fleet-seen.ts';
import { type FleetPlan, planFleet } from './plan-fleet.ts';

const NOW_MS = 10_000_000;
const SMALL = { vcpus: 2, memoryMib: 4096, diskGib: 20, arch: 'x64' } as const;
const LARGE = { vcpus: 8, memoryMib: 16_384, diskGib: 40, arch: 'x64' } as const;
const vm = (over: Partial<FleetVm> = {}): FleetVm => ({
  ...{ class: SMALL, bytesToMove: 1e9, movable: true },
  ...over,
});

function offer(id: string, pricePerHourUsd: number, vcpus = 4): Offer {
  const capacity = { vcpus, memoryMib: vcpus * 4096, diskGib: 400 };
  return { id, capacity, spot: true, pricePerHourUsd, place: 'a' };
}
const OFFERS = [offer('four', 0.1), offer('sixteen', 0.36, 16)];

function machine(n: number, over: Partial<FleetMachine> = {}): FleetMachine {
  return {
    machineId: `m${n}`,
    offerId: 'four',
    usdPerHour: 0.1,
    capacity: { vcpus: 4, memoryMib: 16_384, diskGib: 400 },
    state: 'serving',
    vms: [],
    sinceMs: NOW_MS - 3_600_000,
    ...over,
  };
}

function planned(seen: Partial<FleetSeen>, policy: Partial<FleetPolicy> = {}): string[] {
  return steps(seen, policy).map((step) =>
    step.kind === 'launch' ? `launch ${step.offerId}` : `${step.kind} ${step.machineId}`,
  );
}

function steps(seen: Partial<FleetSeen>, policy: Partial<FleetPolicy> = {}) {
  return plan(seen, policy).steps;
}

function plan(seen: Partial<FleetSeen>, policy: Partial<FleetPolicy> = {}): FleetPlan {
  return planFleet(
    { offers: OFFERS, machines: [], waiting: [], lastStirMs: 0, usdToday: 0, ...seen },
    { ...DEFAULT_FLEET_POLICY, minHosts: 0, headroom: { kind: 'off' }, ...policy },
    NOW_MS,
  );
}

it('is short of room for what can be had, not for what nobody sells', () => {
  const giant = { ...LARGE, vcpus: 4_096 };
  expect(plan({ waiting: [SMALL] }).isShort).toBe(true);
  expect(plan({ waiting: [SMALL], machines: [machine(1)] }).isShort).toBe(false);
  expect(plan({ waiting: [giant], machines: [machine(1)] }).isShort).toBe(false);
});

describe('buying', () => {
  it.each([
    ['nothing for an empty fleet without jobs', {}, []],
    ['the cheapest that fits', { waiting: [SMALL] }, ['launch four']],
    ['a large one for a large job', { waiting: [LARGE] }, ['launch sixteen']],
    [
      'a large one where it is cheaper per vCPU',
      { waiting: Array(8).fill(SMALL) },
      ['launch sixteen'],
    ],
    ['nothing where there is room', { waiting: [SMALL], machines: [machine(1)] }, []],
    [
      'nothing where there will be room',
      { waiting: [SMALL, SMALL], machines: [machine(1, { state: 'launching', sinceMs: NOW_MS })] },
      [],
    ],
    [
      'room for the VMs of a machine that goes away',
      { machines: [machine(1, { state: 'leaving', vms: [vm()] })] },
      ['launch four'],
    ],
    ['nothing that nobody sells', { waiting: [LARGE], offers: [offer('four', 0.1)] }, []],
  ] as const)('buys %s', (_, seen, expected) => {
    expect(planned(seen)).toEqual(expected);
  });

  it('keeps as many hosts as it is told to', () => {
    expect(planned({}, { minHosts: 2 })).toEqual(['launch sixteen', 'launch sixteen']);
    expect(planned({ machines: [machine(1), machine(2)] }, { minHosts: 2 })).toEqual([]);
  });

  it('stays below the maximum spend, which machines that go away count towards', () => {
    const waiting = [SMALL, SMALL, SMALL, SMALL];
    const offers = [offer('four', 0.1)];
    expect(planned({ waiting, offers }, { maxUsdPerHour: 0.15 })).toEqual(['launch four']);
    const machines = [machine(1, { state: 'leaving' })];
    expect(planned({ waiting, offers, machines }, { maxUsdPerHour: 0.15 })).toEqual([]);
  });

  it.each([
    ['the day has money for both', 4.65, ['launch four', 'launch four']],
    ['for one', 4.75, ['launch four']],
    ['for none beside what runs', 4.85, []],
    ['it is overspent', 6, []],
  ])('stays within the day: %s', (_, usdToday, expected) => {
    const waiting = [SMALL, SMALL, SMALL, SMALL];
    const machines = [machine(1, { state: 'leaving', usdPerHour: 0.1 })];
    const seen = { waiting, offers: [offer('four', 0.1)], machines, usdToday };
    expect(planned(seen, { maxUsdPerDay: 5 })).toEqual(expected);
  });

  it('shares out what the budget leaves among the launches of one look', () => {
    const launches = steps(
      { waiting: [SMALL, SMALL, SMALL, SMALL], offers: [offer('four', 0.1)] },
      { maxUsdPerHour: 0.4 },
    );
    expect(launches).toMatchObject([{ maxUsdPerHour: 0.2 }, { maxUsdPerHour: 0.2 }]);
  });

  it('keeps an emptying machine rather than buying', () => {
    const machines = [machine(1, { state: 'emptying', vms: [vm()] })];
    expect(planned({ waiting: [SMALL], machines })).toEqual(['keep m1']);
  });
});

describe('headroom', () => {
  const busy = [machine(1, { vms: [vm(), vm()] }), machine(2, { vms: [vm()] })];
  it.each([
    [{ kind: 'off' }, []],
    [{ kind: 'one-host' }, ['launch four']],
    [{ kind: 'share', share: 0.3 }, []],
    [{ kind: 'share', share: 0.5 }, ['launch four']],
  ] as const)('%j of two hosts with 3 of 4 places taken', (headroom, expected) => {
    expect(planned({ machines: busy }, { headroom })).toEqual(expected);
  });

  it('asks for none where nothing runs', () => {
    expect(
      planned({ machines: [machine(1)] }, { headroom: { kind: 'one-host' }, minHosts: 1 }),
    ).toEqual([]);
  });
});

describe('giving back', () => {
  it('first empties what is superfluous, then ends it', () => {
    const machines = [machine(1), machine(2, { vms: [vm()] })];
    expect(planned({ machines })).toEqual(['empty m1']);
    expect(planned({ machines: [machine(1, { state: 'emptying' })] })).toEqual(['terminate m1']);
  });

  it('packs VMs so that a host empties, the dearest first', () => {
    const machines = [
      machine(1, { vms: [vm()] }),
      machine(2, { vms: [vm()], usdPerHour: 0.2 }),
      machine(3, { vms: [vm({ movable: false })], usdPerHour: 0.9 }),
    ];
    expect(planned({ machines })).toEqual(['empty m2']);
    const [step] = steps({ machines });
    expect(step?.why).toMatch(/\(\$0.2 − \$0\) × 4 h = \$0.8 > 1.5 × \(\$0.02 traffic/);
  });

  it.each([
    ['while it stirs', { lastStirMs: NOW_MS - 1 }],
    [
      'while one is launched',
      { machines: [machine(1), machine(2, { state: 'launching', sinceMs: NOW_MS })] },
    ],
    [
      'while one is emptied',
      { machines: [machine(1), machine(2, { state: 'emptying', vms: [vm()] })] },
    ],
    [
      'that something waits for',
      { waiting: [LARGE], machines: [machine(1)], offers: [offer('sixteen', 9, 16)] },
    ],
  ])('gives nothing back %s', (_, seen) => {
    expect(planned({ machines: [machine(1)], ...seen })).toEqual([]);
  });

  it('is not kept from order by what nobody sells', () => {
    const offers = [offer('four', 0.1)];
    expect(planned({ waiting: [LARGE], machines: [machine(1)], offers })).toEqual(['empty m1']);
  });

  it('gives nothing back that the headroom or the minimum needs', () => {
    const machines = [machine(1), machine(2, { vms: [vm()] })];
    expect(planned({ machines }, { headroom: { kind: 'one-host' } })).toEqual([]);
    expect(planned({ machines }, { minHosts: 2 })).toEqual([]);
  });

  it.each([
    ['never joined', machine(1, { state: 'launching' }), ['terminate m1']],
    ['may still join', machine(1, { state: 'launching', sinceMs: NOW_MS - 60_000 }), []],
    ['is away for good', machine(1, { state: 'away' }), ['terminate m1']],
    ['is away with a VM', machine(1, { state: 'away', vms: [vm()] }), []],
    ['is wanted back by its cloud, and empty', machine(1, { state: 'leaving' }), ['empty m1']],
  ])('judges a machine that %s', (_, one, expected) => {
    expect(planned({ machines: [one] })).toEqual(expected);
  });
});

describe('cheaper without downtime', () => {
  const dear = machine(1, { vms: [vm()], usdPerHour: 0.5 });

  it('buys what is cheaper by more than the move costs, and says why', () => {
    expect(planned({ machines: [dear] })).toEqual(['launch four']);
    const [step] = steps({ machines: [dear] });
    expect(step?.why).toMatch(/^Cheaper than m1 .*= \$1\.6 > 1\.5 × /);
  });

  it('does not trust a price that was higher within the hour', () => {
    const offers = [{ ...offer('four', 0.1), highUsdPerHour: 0.5 }];
    expect(planned({ machines: [dear], offers })).toEqual([]);
    const steady = [{ ...offer('four', 0.1), highUsdPerHour: 0.1 }];
    expect(planned({ machines: [dear], offers: steady })).toEqual(['launch four']);
  });

  it('then gives the dear one back, not the new one', () => {
    expect(planned({ machines: [dear, machine(2)] })).toEqual(['empty m1']);
  });

  it.each([
    ['the difference is small', machine(1, { vms: [vm()], usdPerHour: 0.11 }), {}],
    ['the move costs more', machine(1, { vms: [vm({ bytesToMove: 1e12 })], usdPerHour: 0.5 }), {}],
    ['its VM cannot move', machine(1, { vms: [vm({ movable: false })], usdPerHour: 0.5 }), {}],
    ['both together are too dear', dear, { maxUsdPerHour: 0.55 }],
    ['there may be no more hosts', dear, { maxHosts: 1 }],
  ])('stays where it is when %s', (_, one, policy) => {
    expect(planned({ machines: [one] }, policy)).toEqual([]);
  });
});

describe('offers that say what they risk', () => {
  const calm = { ...offer('calm', 0.101), reclaimsPerMonth: 0.025, placementScore: 9 };
  const risky = { ...offer('risky', 0.1), reclaimsPerMonth: 0.33, placementScore: 3 };

  it('are weighed by it, and the arithmetic names it', () => {
    const [step] = steps({ offers: [risky, calm], waiting: [SMALL] });
    expect(step).toMatchObject({ kind: 'launch', offerId: 'calm' });
    expect(step?.why).toBe(
      'Jobs or VMs wait: 1 × no room. ($0.101 + $0.0012 risk) / 2 vCPUs used = $0.0511; next risky: $0.0541',
    );
    const [other] = steps({
      offers: [{ ...risky, pricePerHourUsd: 0.09 }, calm],
      waiting: [SMALL],
    });
    expect(other).toMatchObject({ offerId: 'risky' });
  });

  const on = (offerId: string) => [machine(1, { vms: [vm()], offerId, usdPerHour: 0.42 })];
  const policy = { riskCosts: { usdPerReclaim: 100, scorePremium: 0.1 }, savingMargin: 0.5 };
  const cheap = { ...risky, pricePerHourUsd: 0.4 };
  const dear = [
    { ...risky, pricePerHourUsd: 0.42 },
    { ...calm, pricePerHourUsd: 0.42 },
  ];

  it('do not replace others for a price that the risk eats up', () => {
    expect(planned({ offers: [cheap], machines: on('other') }, policy)).toEqual([]);
    const blind = { ...policy, riskCosts: { usdPerReclaim: 0, scorePremium: 0 } };
    expect(planned({ offers: [cheap], machines: on('other') }, blind)).toEqual(['launch risky']);
  });

  it('are replaced at the same price by what is calm, and not the other way', () => {
    expect(planned({ offers: dear, machines: on('risky') }, policy)).toEqual(['launch calm']);
    expect(planned({ offers: dear, machines: on('calm') }, policy)).toEqual([]);
  });
});
