import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HostId, JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { SHARE } from './moves-world.ts';
import type { Observed, ObservedHost, ObservedJob, ObservedVm } from './observed.ts';
import { DEFAULT_PLANNER_CONFIG, type PlannerConfig } from './observed.ts';
import { plan } from './plan.ts';
import type { Step } from './step.ts';

const NOW_MS = 1_000_000;
const CLASS = { vcpus: 2, memoryMib: 4096, diskGib: 20, arch: 'x64' as const };
const vmId = (n: number) => VmId.parse(`vm-${n}`);
const hostId = (n: number) => HostId.parse(`host-${n}`);
/** Nothing moves. */
const STILL = { migrations: [], wishes: [], leftCopies: [] };
const jobId = (n: number) => JobId.parse(`${n}`);

function job(n: number, over: Partial<ObservedJob> = {}): ObservedJob {
  return {
    id: jobId(n),
    state: 'queued',
    class: CLASS,
    queuedAtMs: n,
    vmId: undefined,
    vmsStarted: 0,
    startedAtMs: undefined,
    ...{ labelsKey: 'architect', rewindable: false, share: SHARE },
    ...over,
  };
}

function host(n: number, over: Partial<ObservedHost> = {}): ObservedHost {
  return {
    id: hostId(n),
    state: 'connected',
    stateSinceMs: 0,
    capacity: { vcpus: 4, memoryMib: 8192, diskGib: 100 },
    templateReady: true,
    notice: undefined,
    drained: false,
    gone: false,
    ...over,
  };
}

function vm(n: number, over: Partial<ObservedVm> = {}): ObservedVm {
  return {
    id: vmId(n),
    hostId: hostId(1),
    phase: 'idle',
    class: CLASS,
    forJob: jobId(n),
    runsJob: undefined,
    runnerId: undefined,
    phaseSinceMs: NOW_MS,
    ...{ missing: false, unknown: false, runnerExited: false },
    runnerWord: undefined,
    why: undefined,
    ...{ lastEpoch: 1, tracking: undefined, keyed: true, rewindable: false, held: false },
    ...{ lastCheckpointAtMs: undefined, leaseOverAtMs: undefined, resize: undefined },
    resizing: false,
    ...over,
  };
}

function planned(
  world: Partial<Observed>,
  config: Partial<PlannerConfig> = {},
  firstId = 1000,
): Step[] {
  return plan({
    observed: { ...STILL, jobs: [], hosts: [host(1)], vms: [], ...world },
    config: { ...DEFAULT_PLANNER_CONFIG, ...config },
    nowMs: NOW_MS,
    newVmIds: Array.from({ length: 50 }, (_, n) => vmId(firstId + n)),
    newMigrationIds: Array.from({ length: 50 }, (_, n) => MigrationId.parse(`m-${firstId + n}`)),
  });
}

/** `start 1` is a VM for job 1, `assign 2>1` is VM 2 handed job 1. */
function expectSteps(steps: readonly Step[], expected: readonly string[]): void {
  expect(steps.map(shown)).toEqual(expected);
}

function shown(step: Step): string {
  if (step.kind === 'start-vm') return `start ${step.jobId}@${step.hostId}`;
  if (step.kind === 'assign-job') return `assign ${step.vmId}>${step.jobId}`;
  if (step.kind === 'lose-job') return `lose ${step.jobId}`;
  if (step.kind === 'stop-vm') return `stop ${step.vmId}`;
  return step.kind === 'forget-vm' ? `forget ${step.vmId}` : step.kind;
}

const running = (n: number, over: Partial<ObservedJob> = {}) =>
  job(n, { state: 'in-progress', vmId: vmId(n), startedAtMs: NOW_MS, ...over });
const busy = (n: number, over: Partial<ObservedVm> = {}) =>
  vm(n, { phase: 'busy', runsJob: jobId(n), runnerId: n, ...over });
const unknown = (n: number, over: Partial<ObservedVm> = {}) =>
  vm(n, { unknown: true, forJob: undefined, ...over });
const longAgo = { phaseSinceMs: 0 };

describe('plan', () => {
  it.each<[string, Partial<Observed>, string[]]>([
    ['queued job: a VM', { jobs: [job(1)] }, ['start 1@host-1']],
    ['oldest first', { jobs: [job(3), job(1), job(2)] }, ['start 1@host-1', 'start 2@host-1']],
    [
      'of one moment: the smaller id first',
      { jobs: [job(2, { queuedAtMs: 1 }), job(1)], hosts: [host(1, { capacity: CLASS })] },
      ['start 1@host-1'],
    ],
    ['idle VM: its job', { jobs: [job(1)], vms: [vm(1)] }, ['assign vm-1>1']],
    [
      'two VMs for one job: the one that is further',
      { jobs: [job(1)], vms: [vm(1, { phase: 'starting' }), vm(2, { forJob: jobId(1) })] },
      ['stop vm-1', 'assign vm-2>1'],
    ],
    [
      'two VMs for one job, equally far: the smaller id',
      { jobs: [job(1)], vms: [2, 1].map((n) => vm(n, { forJob: jobId(1) })) },
      ['stop vm-2', 'assign vm-1>1'],
    ],
    ['starting VM: wait', { jobs: [job(1)], vms: [vm(1, { phase: 'starting' })] }, []],
    [
      'the request to start was lost: once more',
      { jobs: [job(1)], vms: [vm(1, { phase: 'allocating', missing: true })] },
      ['start 1@host-1'],
    ],
    [
      'cancelled before pick-up',
      { jobs: [job(1, { state: 'completed' })], vms: [vm(1)] },
      ['stop vm-1'],
    ],
    [
      'cancelled, but another job of the class waits',
      { jobs: [job(1, { state: 'completed' }), job(2)], vms: [vm(1)] },
      ['assign vm-1>2'],
    ],
    [
      'spare VM of another class is no help',
      {
        jobs: [job(1, { state: 'completed' }), job(2)],
        vms: [vm(1, { class: { ...CLASS, vcpus: 1 } })],
      },
      ['stop vm-1', 'start 2@host-1'],
    ],
    [
      'runner took another job: that one’s runner serves in turn',
      {
        jobs: [job(1), running(2, { vmId: vmId(1) })],
        vms: [busy(1, { runsJob: jobId(2) }), vm(2, { phase: 'assigned', runnerId: 2 })],
      },
      [],
    ],
    [
      'runner took another job with other labels: a VM anew',
      {
        jobs: [job(1, { labelsKey: 'a' }), running(2, { vmId: vmId(1) })],
        vms: [busy(1, { runsJob: jobId(2) })],
      },
      ['start 1@host-1'],
    ],
    ['busy: hands off', { jobs: [running(1)], vms: [busy(1, longAgo)] }, []],
    ['completed: stop', { jobs: [job(1, { state: 'completed' })], vms: [busy(1)] }, ['stop vm-1']],
    ['died while busy', { jobs: [running(1)], vms: [busy(1, { phase: 'failed' })] }, ['lose 1']],
    ['vanished while busy', { jobs: [running(1)], vms: [busy(1, { missing: true })] }, ['lose 1']],
    [
      'lost: forget',
      { jobs: [job(1, { state: 'lost' })], vms: [busy(1, { phase: 'failed' })] },
      ['forget vm-1'],
    ],
    [
      'died before pick-up',
      { jobs: [job(1)], vms: [vm(1, { phase: 'failed' })] },
      ['forget vm-1', 'start 1@host-1'],
    ],
    [
      'started for too long',
      { jobs: [job(1)], vms: [vm(1, { phase: 'starting', ...longAgo })] },
      ['stop vm-1', 'start 1@host-1'],
    ],
    [
      'assigned for too long',
      { jobs: [job(1)], vms: [vm(1, { phase: 'assigned', runnerId: 1, ...longAgo })] },
      ['stop vm-1', 'start 1@host-1'],
    ],
    ['unknown VMs', { vms: [unknown(9), unknown(8)] }, ['stop vm-8', 'stop vm-9']],
    [
      'unknown VM: serves nobody',
      { jobs: [job(1)], vms: [unknown(9)] },
      ['stop vm-9', 'start 1@host-1'],
    ],
    [
      'unknown VM that runs a job: hands off',
      { jobs: [running(9)], vms: [unknown(9, { runsJob: jobId(9) })] },
      [],
    ],
    ['runner ended: grace', { jobs: [running(1)], vms: [busy(1, { runnerExited: true })] }, []],
    [
      'runner ended long ago',
      { jobs: [running(1)], vms: [busy(1, { runnerExited: true, phase: 'draining', ...longAgo })] },
      ['lose 1'],
    ],
    ['given up', { jobs: [job(1, { vmsStarted: 5 })] }, ['lose 1']],
    ['foreign runner’s job', { jobs: [running(1, { vmId: undefined })] }, []],
  ])('%s', (_name, world, expected) => {
    expectSteps(planned(world), expected);
  });

  it('leaves the VMs of a host that is briefly away alone, then holds them for dead', () => {
    const away = (sinceMs: number) => [host(1, { state: 'away', stateSinceMs: sinceMs }), host(2)];
    const world = { jobs: [running(1), job(2)], vms: [busy(1), vm(2)] };
    expectSteps(planned({ ...world, hosts: away(NOW_MS - 1000) }), []);
    expectSteps(planned({ ...world, hosts: away(0) }), ['lose 1', 'forget vm-2', 'start 2@host-2']);
  });

  it('keeps to its caps', () => {
    const jobs = [1, 2, 3, 4].map((n) => job(n));
    const hosts = [host(1), host(2)];
    expect(planned({ jobs, hosts }, { maxVms: 3 })).toHaveLength(3);
    expect(planned({ jobs, hosts }, { maxStartsPerTick: 1 })).toHaveLength(1);
  });
});

const anyWorld: fc.Arbitrary<Observed> = fc
  .record({
    jobs: fc
      .uniqueArray(
        fc.record({
          n: fc.integer({ min: 1, max: 8 }),
          state: fc.constantFrom('queued', 'queued', 'in-progress', 'completed', 'refused', 'lost'),
          on: fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined }),
          labelsKey: fc.constantFrom('a', 'b'),
          queuedAtMs: fc.constantFrom(1, 2),
          vmsStarted: fc.integer({ min: 0, max: 6 }),
          startedAtMs: fc.constantFrom(0, NOW_MS),
        }),
        { selector: ({ n }) => n },
      )
      .map((all) =>
        all.map(({ n, state, on, ...over }) => {
          const runs = state === 'in-progress' && on !== undefined;
          return job(n, { ...over, state, vmId: runs ? vmId(on) : undefined });
        }),
      ),
    hosts: fc.tuple(
      ...[1, 2, 3].map((n) =>
        fc
          .record({
            state: fc.constantFrom('connected', 'connected', 'away', 'turned-away', 'draining'),
            stateSinceMs: fc.constantFrom(0, NOW_MS),
            templateReady: fc.boolean(),
          })
          .map((over) => host(n, over)),
      ),
    ),
    vms: fc
      .uniqueArray(
        fc.record({
          n: fc.integer({ min: 1, max: 8 }),
          hostId: fc.integer({ min: 1, max: 4 }).map(hostId),
          phase: fc.constantFrom(
            'allocating',
            'starting',
            'idle',
            'assigned',
            'draining',
            'stopped',
            'failed',
          ),
          forJob: fc.option(fc.integer({ min: 1, max: 8 }).map(jobId), { nil: undefined }),
          runnerId: fc.option(fc.constant(7), { nil: undefined }),
          phaseSinceMs: fc.constantFrom(0, NOW_MS),
          missing: fc.boolean(),
          unknown: fc.boolean(),
          runnerExited: fc.boolean(),
        }),
        { selector: ({ n }) => n },
      )
      .map((all) => all.map(({ n, ...over }) => vm(n, over))),
  })
  .map((world) => ({
    ...STILL,
    ...world,
    vms: world.vms.map((one) => {
      const mine = world.jobs.find(({ vmId: id }) => id === one.id);
      return mine === undefined
        ? one
        : { ...one, runsJob: mine.id, phase: one.phase === 'idle' ? ('busy' as const) : one.phase };
    }),
  }));

/** The world after the steps were carried out at once. */
function carryOut(world: Observed, steps: readonly Step[]): Observed {
  let { jobs, vms } = world;
  const change = (id: VmId, over: Partial<ObservedVm>) => {
    vms = vms.map((one) => (one.id === id ? { ...one, ...over } : one));
  };
  for (const step of steps) {
    if (step.kind === 'lose-job')
      jobs = jobs.map((one) => (one.id === step.jobId ? { ...one, state: 'lost' } : one));
    else if (step.kind === 'forget-vm') vms = vms.filter((one) => one.id !== step.vmId);
    else if (step.kind === 'stop-vm') change(step.vmId, { phase: 'stopped', phaseSinceMs: 0 });
    else if (step.kind === 'assign-job')
      change(step.vmId, {
        phase: 'assigned',
        forJob: step.jobId,
        runnerId: 1,
        phaseSinceMs: NOW_MS,
      });
    else if (step.kind !== 'start-vm') throw new Error(`${step.kind} was not expected here`);
    else if (vms.some((one) => one.id === step.vmId)) change(step.vmId, { missing: false });
    else {
      const started = { id: step.vmId, hostId: step.hostId, forJob: step.jobId, class: step.class };
      vms = [...vms, { ...vm(1), ...started, phase: 'allocating', phaseSinceMs: NOW_MS }];
      jobs = jobs.map((one) =>
        one.id === step.jobId ? { ...one, vmsStarted: one.vmsStarted + 1 } : one,
      );
    }
  }
  return { ...world, jobs, vms };
}

describe('plan, for any world', () => {
  const holds = (check: (world: Observed, steps: Step[]) => void) =>
    fc.assert(
      fc.property(anyWorld, (world) => check(world, planned(world, { maxVms: 6 }))),
      { numRuns: 1000 },
    );

  it('keeps under the caps and starts at most one VM per job', () => {
    holds((world, steps) => {
      const starts = steps.filter((step) => step.kind === 'start-vm');
      const fresh = starts.filter(({ vmId: id }) => !world.vms.some((one) => one.id === id));
      const sureLive = world.vms.filter(
        (one) =>
          !['stopped', 'failed'].includes(one.phase) &&
          !one.missing &&
          world.hosts.some(({ id, state }) => id === one.hostId && state === 'connected'),
      );
      if (fresh.length > 0) expect(sureLive.length + fresh.length).toBeLessThanOrEqual(6);
      expect(new Set(starts.map(({ jobId: id }) => id)).size).toBe(starts.length);
      for (const { jobId: id } of fresh) {
        const wanted = world.jobs.find((one) => one.id === id);
        expect(wanted?.state).toBe('queued');
        expect(wanted?.vmsStarted).toBeLessThan(DEFAULT_PLANNER_CONFIG.maxVmsPerJob);
      }
    });
  });

  it('stops no VM whose job is in progress', () => {
    holds((world, steps) => {
      const inProgress = new Set(
        world.jobs.flatMap((one) => (one.state === 'in-progress' ? [one.vmId] : [])),
      );
      for (const step of steps)
        if (step.kind === 'stop-vm') expect(inProgress).not.toContain(step.vmId);
    });
  });

  it('asks nothing of a host that is not connected', () => {
    holds((world, steps) => {
      for (const step of steps) {
        if (step.kind === 'lose-job' || step.kind === 'forget-vm') continue;
        const asked = 'hostId' in step ? step.hostId : undefined;
        const state = world.hosts.find(({ id }) => id === asked)?.state;
        expect(['connected', 'draining']).toContain(state);
      }
    });
  });

  it('does not depend on the order of what it sees', () => {
    fc.assert(
      fc.property(
        anyWorld.chain((world) =>
          fc.tuple(
            fc.constant(world),
            fc.record({
              jobs: fc.shuffledSubarray([...world.jobs], { minLength: world.jobs.length }),
              hosts: fc.shuffledSubarray([...world.hosts], { minLength: world.hosts.length }),
              vms: fc.shuffledSubarray([...world.vms], { minLength: world.vms.length }),
            }),
          ),
        ),
        ([world, shuffled]) => {
          expect(planned(shuffled)).toEqual(planned(world));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('has nothing left to plan once its steps are carried out', () => {
    holds((first) => {
      let world = first;
      for (let round = 0; round < 8; round += 1)
        world = carryOut(world, planned(world, {}, 1000 + 100 * round));
      expect(planned(world)).toEqual([]);
    });
  });
});
