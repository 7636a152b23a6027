import { expect, it } from 'vitest';
import {
  CLASS,
  host,
  hostId,
  interrupted,
  job,
  move,
  NOW_MS,
  notice,
  planned,
  shown,
  vm,
  wish,
} from './moves-world.ts';
import type { Observed, ObservedVm } from './observed.ts';

/** Hosts have 4 vCPUs and 8 GB; VM 1 has 2 and 4. */
const wants = (vcpus: number, memoryMib: number, over: Partial<ObservedVm> = {}) =>
  vm(1, { resize: { size: { vcpus, memoryMib }, askedAtMs: NOW_MS - 1_000 }, ...over });
const late = { size: { vcpus: 6, memoryMib: 4_096 }, askedAtMs: 0 };
const large = host(2, { capacity: { vcpus: 16, memoryMib: 65_536, diskGib: 100 } });
const neighbour = vm(2, { forJob: undefined, runsJob: undefined, runnerWord: 'taken' });
const NO_ROOM = 'end vm-1';

it.each<[string, Partial<Observed>, string[]]>([
  ['room where it is: resized', { vms: [wants(4, 8_192)] }, ['resize vm-1']],
  ['its host is at it: nothing', { vms: [wants(4, 8_192, { resizing: true })] }, []],
  ['smaller on a full host: resized', { vms: [wants(1, 4_096), neighbour] }, ['resize vm-1']],
  ['less memory: resized', { vms: [wants(1, 2_048)] }, ['resize vm-1']],
  [
    'a neighbour has the room: moved to a host that fits',
    { vms: [wants(4, 4_096), neighbour], hosts: [host(1), large] },
    ['move vm-1>host-2 epoch 4'],
  ],
  [
    'its host is too small: moved',
    { vms: [wants(8, 4_096)], hosts: [host(1), large] },
    ['move vm-1>host-2 epoch 4'],
  ],
  [
    'moved already: waits',
    { vms: [wants(8, 4_096)], hosts: [host(1), large], migrations: [move(1)] },
    [],
  ],
  ['no host fits: waits', { vms: [wants(8, 4_096)] }, []],
  ['no host fits for long: refused', { vms: [vm(1, { resize: late })] }, [NO_ROOM]],
  [
    'not tracked: waits',
    { vms: [wants(8, 4_096, { tracking: undefined })], hosts: [host(1), large] },
    [],
  ],
  ['held where it fits: resized', { vms: [wants(4, 8_192, { held: true })] }, ['resize vm-1']],
  [
    'held on a host that is too small: refused',
    { vms: [wants(8, 4_096, { held: true })], hosts: [host(1), large] },
    [NO_ROOM],
  ],
  [
    'a notice goes first',
    { vms: [wants(4, 4_096)], hosts: [host(1, interrupted(60_000)), large] },
    ['move vm-1>host-2 epoch 4'],
  ],
  [
    'a host that may go soon gives no more',
    { vms: [wants(4, 4_096)], hosts: [host(1, { notice: notice({ kind: 'rebalance' }) })] },
    [],
  ],
  [
    'one move beside a wish',
    { vms: [wants(8, 4_096)], hosts: [host(1), large], wishes: [wish({ to: hostId(2) })] },
    ['move vm-1>host-2 epoch 4'],
  ],
  [
    'its attempt failed a moment ago: rests',
    {
      vms: [wants(8, 4_096)],
      hosts: [host(1), large],
      migrations: [move(1, { phase: 'aborted', phaseSinceMs: NOW_MS - 100 })],
    },
    [],
  ],
])('%s', (_what, world, steps) => {
  expect(planned(world).map(shown)).toEqual(steps);
});

it('does not give the same room twice', () => {
  const other = vm(2, { resize: { size: { vcpus: 3, memoryMib: 4_096 }, askedAtMs: NOW_MS } });
  const hosts = [host(1, { capacity: { vcpus: 5, memoryMib: 8_192, diskGib: 100 } })];
  const queued = job(3, {
    state: 'queued',
    vmId: undefined,
    vmsStarted: 0,
    class: { ...CLASS, vcpus: 1, memoryMib: 0 },
  });
  const jobs = [job(1), job(2), queued];
  const vms = [wants(3, 4_096), other];
  expect(planned({ jobs, vms, hosts }).map(shown)).toEqual(['resize vm-1']);
});
