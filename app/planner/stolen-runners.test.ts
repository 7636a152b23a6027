/** Any idle runner that holds a job's labels may be given that job: being stolen from is normal. */
import { describe, expect, it } from 'vitest';
import { VmId } from '../../host-agent/protocol/ids.ts';
import { host, job, NOW_MS, vm } from './moves-world.ts';
import { DEFAULT_PLANNER_CONFIG, type ObservedJob, type ObservedVm } from './observed.ts';
import { plan } from './plan.ts';

const queued = (n: number, over: Partial<ObservedJob> = {}) =>
  job(n, { state: 'queued', vmId: undefined, startedAtMs: undefined, ...over });
const assigned = (n: number, over: Partial<ObservedVm> = {}) =>
  vm(n, { phase: 'assigned', runsJob: undefined, runnerId: n, tracking: undefined, ...over });

function kinds(jobs: readonly ObservedJob[], vms: readonly ObservedVm[]): readonly string[] {
  const steps = plan({
    observed: { ...{ jobs, vms, hosts: [host(1)] }, migrations: [], wishes: [], leftCopies: [] },
    config: DEFAULT_PLANNER_CONFIG,
    nowMs: NOW_MS,
    newVmIds: Array.from({ length: 9 }, (_, n) => VmId.parse(`vm-${100 + n}`)),
    newMigrationIds: [],
  });
  return steps.map((step) => step.kind);
}

describe('a runner that GitHub gave to another job', () => {
  it.each([
    ['waits for its job: nothing to do', [queued(1)], [assigned(1)], []],
    [
      'is at a job that we know',
      [queued(1), job(2, { vmId: vm(1).id })],
      [assigned(1, { runsJob: job(2).id })],
      ['start-vm'],
    ],
    [
      'is at a job that we cannot see',
      [queued(1)],
      [assigned(1, { runnerWord: 'taken' })],
      ['start-vm'],
    ],
    [
      'has ended that job',
      [queued(1)],
      [assigned(1, { runnerWord: 'taken', runnerExited: true, phaseSinceMs: 0 })],
      ['stop-vm', 'start-vm'],
    ],
    ['expired unused', [queued(1)], [assigned(1, { runnerWord: 'gone' })], ['stop-vm', 'start-vm']],
    [
      'the thief’s own VM takes its place',
      [queued(1), job(2, { vmId: vm(1).id })],
      [assigned(1, { runsJob: job(2).id }), assigned(2)],
      [],
    ],
  ] as const)('%s', (_, jobs, vms, steps) => {
    expect(kinds(jobs, vms)).toEqual(steps);
  });

  it('costs a job so many VMs and no more', () => {
    const robbed = queued(1, { vmsStarted: DEFAULT_PLANNER_CONFIG.maxVmsPerJob });
    expect(kinds([robbed], [assigned(1, { runnerWord: 'taken' })])).toEqual(['lose-job']);
  });
});
