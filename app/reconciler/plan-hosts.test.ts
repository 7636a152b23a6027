import { describe, expect, it } from 'vitest';
import type { ProviderHost } from '../providers/provider.ts';
import { planHosts } from './plan-hosts.ts';

const capacity = { vcpus: 4, memoryMib: 8192, diskGib: 100 };
const offers = [
  { id: 'dear', capacity, spot: true, pricePerHourUsd: 2, place: 'here' },
  { id: 'cheap', capacity, spot: true, pricePerHourUsd: 1, place: 'here' },
];
function machine(n: number, state: ProviderHost['state'] = 'running'): ProviderHost {
  return { machineId: `m${n}`, offerId: 'cheap', state, launchedAtMs: n };
}
function planned(
  desiredHosts: number,
  machines: ProviderHost[],
  empty: string[] = [],
  leaving: string[] = [],
) {
  const observed = {
    ...{ desiredHosts, offers, machines },
    emptyMachines: new Set(empty),
    leavingMachines: new Set(leaving),
  };
  return planHosts(observed, ['t1', 't2', 't3']).map((step) =>
    step.kind === 'launch' ? `launch ${step.offerId} ${step.clientToken}` : `end ${step.machineId}`,
  );
}

describe('planHosts', () => {
  it.each([
    [2, [], [], ['launch cheap t1', 'launch cheap t2']],
    [2, [machine(1), machine(2, 'launching')], [], []],
    [2, [machine(1), machine(2, 'terminating')], [], ['launch cheap t1']],
    [1, [machine(1), machine(2), machine(3)], ['m1', 'm3'], ['end m3', 'end m1']],
    [1, [machine(1), machine(2)], [], []],
  ])('%i wanted, %j there, %j empty', (desired, machines, empty, steps) => {
    expect(planned(desired, machines, empty)).toEqual(steps);
  });

  it('replaces a machine as soon as its cloud takes it back, and does not end it for that', () => {
    expect(planned(2, [machine(1), machine(2)], ['m1'], ['m1'])).toEqual(['launch cheap t1']);
    const three = [machine(1), machine(2), machine(3)];
    expect(planned(2, three, ['m1'], ['m1'])).toEqual([]);
  });
});
