import { describe, expect, it } from 'vitest';
import { fleetHost } from '../../../test/fixtures/records.ts';
import { host, job, move, NOW_MS, vm } from '../../planner/moves-world.ts';
import type { Observed } from '../../planner/observed.ts';
import type { ProviderHost } from '../../providers/provider.ts';
import { type FleetLook, rememberMachines, seeMachines, seeWaiting } from './see-fleet.ts';

const NOTICE = { kind: 'rebalance', deadlineMs: null, source: 'ec2', seenAtMs: 1 } as const;
const machine = (over: Partial<ProviderHost> = {}): ProviderHost => ({
  ...{ machineId: 'i-1', offerId: 'o', state: 'running', launchedAtMs: 0, pricePerHourUsd: 0.1 },
  ...over,
});
const agent = (over: Parameters<typeof fleetHost>[0] = {}) =>
  fleetHost({ id: 'host-1', hostname: 'i-1', ...over });

function observed(over: Partial<Observed> = {}): Observed {
  return {
    ...{ jobs: [], hosts: [host(1)], vms: [], migrations: [], wishes: [], leftCopies: [] },
    ...over,
  };
}

function seen(over: Partial<FleetLook> = {}) {
  const look = { offers: [], machines: [machine()], hosts: [agent()], observed: observed() };
  const emptying = new Set<string>();
  return seeMachines({ ...look, emptying, known: new Map(), nowMs: NOW_MS, ...over });
}

describe('seeMachines', () => {
  const capacity = { vcpus: 4, memoryMib: 8192, diskGib: 50 };
  it.each([
    ['serving', {}],
    ['launching', { hosts: [] }],
    ['launching', { hosts: [agent({ state: 'turned-away' })] }],
    ['away', { hosts: [agent({ state: 'away' })] }],
    ['emptying', { emptying: new Set(['i-1']) }],
    [
      'leaving',
      { hosts: [fleetHost({ id: 'host-1', hostname: 'i-1', report: { notice: NOTICE } })] },
    ],
  ])('%s: %j', (state, over) => {
    expect(seen(over)).toMatchObject([{ machineId: 'i-1', state, sinceMs: NOW_MS }]);
  });

  it('leaves out what is ending already', () => {
    expect(seen({ machines: [machine({ state: 'terminating' })] })).toEqual([]);
  });

  it('counts time on our own clock, from when the state was first seen', () => {
    const early = seen({ hosts: [], nowMs: 5 });
    const known = rememberMachines(early);
    expect(seen({ hosts: [], known })).toMatchObject([{ state: 'launching', sinceMs: 5 }]);
    expect(seen({ known })).toMatchObject([{ state: 'serving', sinceMs: NOW_MS }]);
  });

  it('believes the agent about room, before that the provider', () => {
    expect(seen()[0]?.capacity.vcpus).toBe(8);
    expect(seen({ hosts: [], machines: [machine({ capacity })] })[0]?.capacity).toEqual(capacity);
  });

  it('goes on with the last price, or the dearest, for what is not sold any more', () => {
    const { pricePerHourUsd: _, ...unpriced } = machine();
    const offers = [{ id: 'x', capacity, spot: true, pricePerHourUsd: 3, place: 'a' }];
    expect(seen({ machines: [unpriced], offers })[0]?.usdPerHour).toBe(3);
    const known = rememberMachines(seen());
    expect(seen({ machines: [unpriced], offers, known })[0]?.usdPerHour).toBe(0.1);
  });

  it('counts a VM on its way at both ends, one in the store nowhere', () => {
    const hosts = [agent(), fleetHost({ id: 'host-2', hostname: 'i-2' })];
    const machines = [machine(), machine({ machineId: 'i-2' })];
    const counts = (over: Partial<Observed>) =>
      seen({ hosts, machines, observed: observed({ vms: [vm(1)], ...over }) }).map(
        ({ vms }) => vms.length,
      );
    expect(counts({})).toEqual([1, 0]);
    expect(counts({ migrations: [move(1)] })).toEqual([1, 1]);
    expect(
      counts({ migrations: [move(1, { kind: 'park', to: undefined, phase: 'parked' })] }),
    ).toEqual([0, 0]);
    expect(counts({ vms: [vm(1, { phase: 'failed' })] })).toEqual([0, 0]);
  });

  it('knows what could move, and what that would send', () => {
    const vms = [vm(1), vm(2, { tracking: undefined }), vm(3, { phase: 'idle' })];
    expect(seen({ observed: observed({ vms }) })[0]?.vms).toMatchObject([
      { movable: true, bytesToMove: 100_000_000 },
      { movable: false },
      { movable: false },
    ]);
  });
});

describe('seeWaiting', () => {
  const queued = (n: number) => job(n, { state: 'queued', vmId: undefined });
  it.each([
    ['a queued job without a VM', { jobs: [queued(1)] }, 1],
    ['not one that has a VM', { jobs: [queued(1)], vms: [vm(1)] }, 0],
    ['one whose VM failed', { jobs: [queued(1)], vms: [vm(1, { phase: 'failed' })] }, 1],
    ['not one that runs', { jobs: [job(1)], vms: [vm(1)] }, 0],
    [
      'a VM in the store',
      { vms: [vm(1)], migrations: [move(1, { kind: 'park', to: undefined, phase: 'parked' })] },
      1,
    ],
  ] as const)('%s', (_, over, count) => {
    expect(seeWaiting(observed(over))).toHaveLength(count);
  });
});
