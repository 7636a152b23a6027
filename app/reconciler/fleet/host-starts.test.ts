import { expect, it } from 'vitest';
import { fleetHost } from '../../../test/fixtures/records.ts';
import { host, vm } from '../../planner/moves-world.ts';
import type { Observed } from '../../planner/observed.ts';
import type { ProviderHost } from '../../providers/provider.ts';
import { addStart, advanceStarts, type HostStart } from './host-starts.ts';

const MACHINE: ProviderHost = {
  ...{ machineId: 'i-1', offerId: 'm8i/a/spot', state: 'launching', launchedAtMs: 1_000 },
};
const LAUNCHED: HostStart = {
  ...{ machineId: 'i-1', offerId: 'm8i/a/spot', launchedAtMs: 1_000 },
  ...{ joinedAtMs: null, readyAtMs: null, firstVmAtMs: null },
};
const joined = [fleetHost({ id: 'host-1', hostname: 'i-1' })];

function picture(over: Partial<Observed> = {}): Observed {
  return { jobs: [], hosts: [], vms: [], migrations: [], wishes: [], leftCopies: [], ...over };
}

it('follows a machine from its launch to its first VM', () => {
  let starts = addStart([], MACHINE);
  starts = advanceStarts(starts, [], picture(), 2_000);
  expect(starts).toEqual([LAUNCHED]);
  const bare = host(1, { templateReady: false });
  starts = advanceStarts(starts, joined, picture({ hosts: [bare] }), 3_000);
  starts = advanceStarts(starts, joined, picture({ hosts: [host(1)] }), 4_000);
  const idle = vm(1, { phase: 'starting' });
  starts = advanceStarts(starts, joined, picture({ hosts: [host(1)], vms: [idle] }), 5_000);
  starts = advanceStarts(starts, joined, picture({ hosts: [host(1)], vms: [vm(1)] }), 6_000);
  const done = { ...LAUNCHED, joinedAtMs: 3_000, readyAtMs: 4_000, firstVmAtMs: 6_000 };
  expect(starts).toEqual([done]);
  expect(advanceStarts(starts, joined, picture({ vms: [vm(1)] }), 7_000)).toBe(starts);
});

it('does not count one that its pool turned away', () => {
  const away = host(1, { state: 'turned-away', templateReady: false });
  const starts = advanceStarts([LAUNCHED], joined, picture({ hosts: [away] }), 3_000);
  expect(starts).toEqual([LAUNCHED]);
});

it('keeps the last ones', () => {
  const machines = Array.from({ length: 60 }, (_, n) => ({ ...MACHINE, machineId: `i-${n}` }));
  const starts = machines.reduce<readonly HostStart[]>(addStart, []);
  expect([starts.length, starts.at(-1)?.machineId]).toEqual([50, 'i-59']);
});
