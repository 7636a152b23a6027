import { expect, test } from 'vitest';
import { JobId } from '../../host-agent/protocol/ids.ts';
import { explainWaiting } from './explain-waiting.ts';
import { host, job, SHARE, vm } from './moves-world.ts';
import type { JobShare, Observed, ObservedJob, ObservedVm } from './observed.ts';

const STILL = { migrations: [], wishes: [], leftCopies: [] };
const CLASS = { vcpus: 2, memoryMib: 4096, diskGib: 20, arch: 'x64' as const };
const sized = (diskGib: number, vcpus = 4) =>
  host(1, { capacity: { vcpus, memoryMib: 8192, diskGib } });
const queued = (n: number, over: Partial<ObservedJob> = {}, share: Partial<JobShare> = {}) =>
  job(n, {
    ...{ state: 'queued', vmId: undefined, class: CLASS, share: { ...SHARE, ...share } },
    ...over,
  });
const capped = (n: number) =>
  queued(n, {}, { caps: [{ key: 'k', maxVms: 1, name: 'acme, class large' }] });
const serving = (phase: ObservedVm['phase']) =>
  vm(1, { phase, forJob: JobId.parse('1'), runsJob: undefined, class: CLASS });

function causesOf(world: Partial<Observed>, paced: readonly string[] = [], maxVms = 1_000) {
  const observed = { ...STILL, jobs: [queued(1)], hosts: [sized(100)], vms: [], ...world };
  const given = {
    observed,
    config: { maxVms },
    paced: new Set(paced.map((id) => JobId.parse(id))),
  };
  return [...explainWaiting(given)].map(([id, { cause, why }]) => `${id} ${cause}: ${why}`).sort();
}

test.each([
  [
    'a cap is full',
    { jobs: [capped(1), capped(2)] },
    [/^1 launching/, /^2 limit-reached: .*acme, class large may have one VM at a time/],
  ],
  ['no host is known', { hosts: [] }, [/^1 no-host: .*none is connected/]],
  ['no host counts', { hosts: [host(1, { state: 'away' })] }, [/^1 no-host/]],
  [
    'hosts are too small',
    { hosts: [sized(10), sized(12)] },
    [/^1 larger-host: .*20 GiB of disk, and no host has more than 12 GiB/],
  ],
  [
    'each lacks something else',
    { hosts: [sized(10), sized(40, 1)] },
    [/^1 larger-host: .*2 vCPUs, 4 GiB .* all of that\.$/],
  ],
  [
    'an earlier job takes the room',
    { jobs: [1, 2, 3].map((n) => queued(n)) },
    [/^1 launching/, /^2 launching/, /^3 no-room/],
  ],
  ['the host has no template yet', { hosts: [host(1, { templateReady: false })] }, [/^1 no-room/]],
  ['its VM starts', { vms: [serving('starting')] }, [/^1 launching: Its VM vm-1/]],
  ['its runner is being registered', { vms: [serving('idle')] }, [/^1 registering/]],
  ['GitHub has the word', { vms: [serving('assigned')] }, [/^1 github/]],
  ['its VM failed', { vms: [serving('failed')] }, [/^1 launching: A VM is about/]],
  ['it runs', { jobs: [job(1)] }, []],
] as const)('%s', (_name, world, expected) => {
  const said = causesOf(world);
  expect(said).toHaveLength(expected.length);
  for (const [at, pattern] of expected.entries()) expect(said[at]).toMatch(pattern);
});

test("GitHub's limits leave no room to register, or the fleet's own for a VM", () => {
  expect(causesOf({ vms: [serving('idle')] }, ['1'])).toEqual([
    expect.stringMatching(/^1 jit-paced/),
  ]);
  expect(causesOf({ vms: [serving('starting')] }, ['1'])).toEqual([
    expect.stringMatching(/^1 launching/),
  ]);
  const full = causesOf({ jobs: [queued(2)], vms: [serving('busy')] }, [], 1);
  expect(full).toEqual([expect.stringMatching(/^2 limit-reached: The fleet may have one VM/)]);
});
