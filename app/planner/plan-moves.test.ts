import { describe, expect, it } from 'vitest';
import {
  CLASS,
  host,
  hostId,
  interrupted,
  job,
  MB,
  move,
  NOW_MS,
  notice,
  planned,
  shown,
  vm,
  vmId,
  wish,
} from './moves-world.ts';
import type { Observed } from './observed.ts';

const small = (n: number) => host(n, { capacity: { vcpus: 1, memoryMib: 512, diskGib: 1 } });
const leaving = host(1, interrupted(60_000));
const gone = host(1, { state: 'away', gone: true, stateSinceMs: NOW_MS - 1_000 });
const away = (ageMs: number) => host(1, { state: 'away', stateSinceMs: NOW_MS - ageMs });
const parked = move(1, { kind: 'park', phase: 'parked', to: undefined });
const rewindable = { rewindable: true, lastCheckpointAtMs: NOW_MS - 60_000 };
const rewindableJob = job(1, { rewindable: true });

describe('planMoves', () => {
  it.each<[string, Partial<Observed>, string[]]>([
    ['nothing goes away: nothing moves', {}, []],
    ['notice: moved', { hosts: [leaving, host(2)] }, ['move vm-1>host-2 epoch 4']],
    [
      'notice without a deadline: moved',
      { hosts: [host(1, { state: 'draining', notice: notice() }), host(2)] },
      ['move vm-1>host-2 epoch 4'],
    ],
    [
      'rebalance: moved early where there is room',
      { hosts: [host(1, { notice: notice({ kind: 'rebalance' }) }), host(2)] },
      ['move vm-1>host-2 epoch 4'],
    ],
    [
      'a new VM has no room where one arrives',
      {
        hosts: [leaving, host(2, { capacity: { vcpus: 3, memoryMib: 8192, diskGib: 100 } })],
        jobs: [job(1), job(2, { state: 'queued', vmId: undefined, vmsStarted: 0 })],
      },
      ['move vm-1>host-2 epoch 4'],
    ],
    ['rebalance, no room', { hosts: [host(1, { notice: notice({ kind: 'rebalance' }) })] }, []],
    [
      'drained: moved',
      { hosts: [host(1, { state: 'draining', drained: true }), host(2)] },
      ['move vm-1>host-2 epoch 4'],
    ],
    [
      'drained, no room: never parked',
      { hosts: [host(1, { state: 'draining', drained: true }), small(2)] },
      [],
    ],
    [
      'not tracked: waits',
      { hosts: [leaving, host(2)], vms: [vm(1, { tracking: undefined })] },
      [],
    ],
    [
      'to no host that goes away',
      { hosts: [leaving, host(2, interrupted(90_000)), host(3)] },
      ['move vm-1>host-3 epoch 4'],
    ],
    ['no room yet: parked only when it must be', { hosts: [leaving, small(2)] }, []],
    [
      'no room, hardly time: parked',
      { hosts: [host(1, interrupted(6_000)), small(2)] },
      ['park vm-1'],
    ],
    [
      'too late: parked all the same',
      { hosts: [host(1, interrupted(500)), host(2)] },
      ['park vm-1'],
    ],
    [
      'VM without a job: stopped, and its job begins elsewhere',
      {
        hosts: [leaving, host(2)],
        jobs: [job(1, { state: 'queued', vmId: undefined })],
        vms: [vm(1, { phase: 'idle', runsJob: undefined, runnerId: undefined })],
      },
      ['stop vm-1', 'start 1@host-2'],
    ],
    ['under way: left alone', { hosts: [leaving, host(2)], migrations: [move(1)] }, []],
    [
      'the copies of an arrival count',
      {
        hosts: [leaving, host(2)],
        jobs: [job(1), job(2), job(3)],
        vms: [vm(1), vm(2), vm(3)],
        migrations: [move(1)],
      },
      ['move vm-2>host-2 epoch 4'],
    ],
    [
      'target reclaimed before the token: aborted',
      { hosts: [host(1), host(2, interrupted(9_000)), host(3)], migrations: [move(1)] },
      ['abort vm-1 at host-1+host-2'],
    ],
    [
      'target reclaimed later than the source, nowhere else to go: goes on',
      { hosts: [host(1, interrupted(5_000)), host(2, interrupted(60_000))], migrations: [move(1)] },
      [],
    ],
    [
      'target reclaimed after the token: left to it',
      {
        hosts: [host(1), host(2, interrupted(9_000)), host(3)],
        migrations: [move(1, { given: true, phase: 'switchover' })],
      },
      [],
    ],
    [
      'target reclaimed after it took over: moves on',
      {
        hosts: [host(1), host(2, interrupted(60_000)), host(3)],
        vms: [vm(1, { hostId: hostId(2) })],
        migrations: [move(1, { phase: 'done', phaseSinceMs: NOW_MS })],
      },
      ['move vm-1>host-1 epoch 4'],
    ],
    [
      'reserved, but its source was never asked: aborted',
      {
        migrations: [
          move(1, { phase: 'reserving', sourceKnows: false, startedAtMs: NOW_MS - 10_000 }),
        ],
      },
      ['abort vm-1 at host-1+host-2'],
    ],
    [
      'source gone: only its target can say that it will never run',
      { hosts: [gone, host(2)], migrations: [move(1)] },
      ['abort vm-1 at host-2'],
    ],
    ['source briefly away: wait', { hosts: [away(1_000), host(2)], migrations: [move(1)] }, []],
    [
      'both gone: over',
      { hosts: [gone, host(2, { state: 'away', gone: true })], migrations: [move(1)] },
      ['aborted vm-1'],
    ],
    [
      'given, both gone: lost',
      {
        hosts: [gone, host(2, { state: 'away', gone: true })],
        migrations: [move(1, { given: true })],
      },
      ['lost vm-1'],
    ],
    [
      'its job is over: not moved any more',
      { jobs: [job(1, { state: 'completed' })], migrations: [move(1)] },
      ['abort vm-1 at host-1+host-2'],
    ],
    [
      'the target that failed is passed over',
      {
        hosts: [leaving, host(2), host(3)],
        migrations: [move(1, { phase: 'aborted', phaseSinceMs: NOW_MS })],
      },
      ['move vm-1>host-3 epoch 4'],
    ],
    [
      'unless it is the only one, after a while',
      {
        hosts: [leaving, host(2)],
        migrations: [move(1, { phase: 'aborted', phaseSinceMs: NOW_MS - 5_000 })],
      },
      ['move vm-1>host-2 epoch 4'],
    ],
    [
      'parked: resumed',
      { hosts: [gone, host(2)], migrations: [parked] },
      ['parked vm-1>host-2 epoch 3'],
    ],
    ['parked, no room: waits', { hosts: [gone, small(2)], migrations: [parked] }, []],
    [
      'parked once more: with a higher epoch',
      { hosts: [gone, host(2)], migrations: [{ ...parked, attempts: 1 }] },
      ['parked vm-1>host-2 epoch 4'],
    ],
    [
      'parked, job over',
      { jobs: [job(1, { state: 'completed' })], migrations: [parked] },
      ['lost vm-1'],
    ],
    [
      'host vanished while it parked: the store knows',
      { hosts: [gone, host(2)], migrations: [{ ...parked, phase: 'parking' }] },
      ['parked vm-1>host-2 epoch 3'],
    ],
    [
      'resuming: nowhere else meanwhile',
      {
        hosts: [gone, host(2), host(3)],
        migrations: [{ ...parked, phase: 'resuming', to: hostId(2) }],
      },
      [],
    ],
    [
      'resuming, unheard: asked again',
      {
        hosts: [gone, host(2)],
        migrations: [
          {
            ...parked,
            phase: 'resuming',
            to: hostId(2),
            targetKnows: false,
            phaseSinceMs: NOW_MS - 10_000,
          },
        ],
      },
      ['parked vm-1>host-2 epoch 3'],
    ],
    ['host gone: lost', { hosts: [gone, host(2)] }, ['lose 1']],
    ['host away for a moment: wait', { hosts: [away(1_000), host(2)] }, []],
    ['host away for long: lost', { hosts: [away(60_000), host(2)] }, ['lose 1']],
    [
      'host gone, opted in: rewound',
      { hosts: [gone, host(2)], jobs: [rewindableJob], vms: [vm(1, rewindable)] },
      ['rewound vm-1>host-2 epoch 1000000'],
    ],
    [
      '… where there is room',
      { hosts: [gone, small(2)], jobs: [rewindableJob], vms: [vm(1, rewindable)] },
      [],
    ],
    [
      'host away, opted in, nobody sure of its end: lost',
      { hosts: [away(60_000), host(2)], jobs: [rewindableJob], vms: [vm(1, rewindable)] },
      ['lose 1'],
    ],
    [
      'host away, its run lease surely over: rewound',
      {
        hosts: [away(30_000), host(2)],
        jobs: [rewindableJob],
        vms: [vm(1, { ...rewindable, leaseOverAtMs: NOW_MS })],
      },
      ['rewound vm-1>host-2 epoch 1000000'],
    ],
    [
      '… but its agent may come back: wait',
      {
        hosts: [away(29_999), host(2)],
        jobs: [rewindableJob],
        vms: [vm(1, { ...rewindable, leaseOverAtMs: NOW_MS })],
      },
      [],
    ],
    [
      '… or its run lease may be in force: wait',
      {
        hosts: [away(30_000), host(2)],
        jobs: [rewindableJob],
        vms: [vm(1, { ...rewindable, leaseOverAtMs: NOW_MS + 1 })],
      },
      [],
    ],
    [
      'no checkpoint: lost',
      { hosts: [gone, host(2)], jobs: [rewindableJob], vms: [vm(1, { rewindable: true })] },
      ['lose 1'],
    ],
    [
      'failed before its host was gone: lost',
      {
        hosts: [gone, host(2)],
        jobs: [rewindableJob],
        vms: [vm(1, { ...rewindable, phase: 'failed' })],
      },
      ['lose 1'],
    ],
    ['wish: moved', { wishes: [wish()] }, ['move vm-1>host-2 epoch 4']],
    [
      'held: no wish',
      { vms: [vm(1, { held: true })], wishes: [wish({ deadlineMs: NOW_MS + 30_000 })] },
      ['end wish: Its job holds the VM on its host; only a notice moves it.'],
    ],
    [
      'held: no drain',
      {
        vms: [vm(1, { held: true })],
        hosts: [host(1, { state: 'draining', drained: true }), host(2)],
      },
      [],
    ],
    [
      'held: no hint',
      {
        vms: [vm(1, { held: true })],
        hosts: [host(1, { notice: notice({ kind: 'rebalance' }) }), host(2)],
      },
      [],
    ],
    [
      'held: a notice all the same',
      { vms: [vm(1, { held: true })], hosts: [leaving, host(2)] },
      ['move vm-1>host-2 epoch 4'],
    ],
    [
      'held: a notice without a deadline, too',
      {
        vms: [vm(1, { held: true })],
        hosts: [host(1, { state: 'draining', notice: notice() }), host(2)],
      },
      ['move vm-1>host-2 epoch 4'],
    ],
    [
      'wish for a host',
      { hosts: [host(1), host(2), host(3)], wishes: [wish({ to: hostId(3) })] },
      ['move vm-1>host-3 epoch 4'],
    ],
    ['wish without room: waits', { hosts: [host(1), small(2)], wishes: [wish()] }, []],
    [
      'wish without room for long: ended',
      { hosts: [host(1), small(2)], wishes: [wish({ askedAtMs: 0 })] },
      ['end wish: No host has room for it, or not in the given time.'],
    ],
    [
      'wish to stay',
      { wishes: [wish({ to: hostId(1) })] },
      ['end wish: The VM is on that host already.'],
    ],
    [
      'wish beside a notice: one move',
      { hosts: [leaving, host(2)], wishes: [wish()] },
      ['move vm-1>host-2 epoch 4'],
    ],
    [
      'a copy that was left',
      { leftCopies: [{ vmId: vmId(1), hostId: hostId(2) }] },
      ['forget vm-1'],
    ],
  ])('%s', (_name, world, expected) => {
    expect(planned(world).map(shown)).toEqual(expected);
  });

  it('tells the age of the checkpoint of a job that it loses', () => {
    const [lost] = planned({
      hosts: [gone, host(2)],
      vms: [vm(1, { lastCheckpointAtMs: NOW_MS - 31_000 })],
    });
    expect(lost).toMatchObject({
      cause: expect.stringMatching(/is gone.*checkpoint was 30 s old/),
    });
  });

  it('moves two hosts’ VMs at once, so many of each as its link bears, quickest first', () => {
    const vms = [1, 2, 3, 4, 5, 6].map((n) =>
      vm(n, {
        hostId: hostId(n % 2 === 0 ? 2 : 1),
        class: { ...CLASS, vcpus: 1, memoryMib: 1024 },
        tracking: {
          bytesUnsealed: (7 - n) * MB,
          bytesInStore: 0,
          dirtyBytesPerSecond: 0,
          lastCheckpoint: null,
        },
      }),
    );
    const hosts = [host(1, interrupted(90_000)), host(2, interrupted(60_000)), host(3), host(4)];
    const steps = planned({ hosts, vms, jobs: vms.map((_, n) => job(n + 1)) });
    expect(steps.map((step) => ('vmId' in step ? step.vmId : ''))).toEqual([
      'vm-6',
      'vm-4',
      'vm-5',
      'vm-3',
    ]);
  });

  it('gives a move up while there is time to park, and hurries nothing that has time', () => {
    const [hurried] = planned({ hosts: [host(1, interrupted(60_000)), host(2)] });
    expect(hurried).toMatchObject({ deadlineMs: NOW_MS + 60_000 - 2_000 - 800 - 1_500 });
    const [calm] = planned({ hosts: [host(1, { state: 'draining', drained: true }), host(2)] });
    expect(calm).toMatchObject({ deadlineMs: NOW_MS + 600_000, cpuShare: 1 });
  });

  it('prefers hosts that stay for new VMs', () => {
    const shaky = host(1, { notice: notice({ kind: 'rebalance' }) });
    const queued = { jobs: [job(1, { state: 'queued', vmId: undefined })], vms: [] };
    expect(planned({ ...queued, hosts: [shaky, host(2)] }).map(shown)).toEqual(['start 1@host-2']);
    expect(planned({ ...queued, hosts: [shaky] }).map(shown)).toEqual(['start 1@host-1']);
  });
});
