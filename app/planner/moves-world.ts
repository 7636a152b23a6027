/** Worlds for tests of moves: host 1 runs VM 1 with job 1, host 2 is free. */
import type { HostNotice } from '../../host-agent/protocol/host-notice.ts';
import { HostId, JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import {
  DEFAULT_PLANNER_CONFIG,
  type JobShare,
  type Observed,
  type ObservedHost,
  type ObservedJob,
  type ObservedMigration,
  type ObservedVm,
  type PlannerConfig,
} from './observed.ts';
import { plan } from './plan.ts';
import type { Step } from './step.ts';

export const NOW_MS = 1_000_000;
export const MB = 1_000_000;
export const CLASS = { vcpus: 2, memoryMib: 4096, diskGib: 20, arch: 'x64' as const };
export const vmId = (n: number) => VmId.parse(`vm-${n}`);
export const hostId = (n: number) => HostId.parse(`host-${n}`);
export const jobId = (n: number) => JobId.parse(`${n}`);

/** Of one repository, with no caps. */
export const SHARE: JobShare = {
  ...{ installationId: 1, owner: 'acme', repo: 'shop', priority: 0, caps: [] },
};

export const interrupted = (inMs: number): Partial<ObservedHost> => ({
  state: 'draining',
  notice: notice({ deadlineMs: NOW_MS + inMs }),
});

export function notice(over: Partial<HostNotice> = {}): HostNotice {
  return { kind: 'interruption', deadlineMs: null, source: 'ec2', seenAtMs: NOW_MS, ...over };
}

export function host(n: number, over: Partial<ObservedHost> = {}): ObservedHost {
  return {
    id: hostId(n),
    state: 'connected',
    stateSinceMs: NOW_MS - 10_000,
    capacity: { vcpus: 4, memoryMib: 8192, diskGib: 100 },
    templateReady: true,
    notice: undefined,
    drained: false,
    gone: false,
    ...over,
  };
}

export function job(n: number, over: Partial<ObservedJob> = {}): ObservedJob {
  return {
    id: jobId(n),
    state: 'in-progress',
    class: CLASS,
    queuedAtMs: n,
    vmId: vmId(n),
    vmsStarted: 1,
    startedAtMs: NOW_MS,
    labelsKey: 'architect',
    share: SHARE,
    rewindable: false,
    ...over,
  };
}

export function vm(n: number, over: Partial<ObservedVm> = {}): ObservedVm {
  return {
    id: vmId(n),
    hostId: hostId(1),
    phase: 'busy',
    class: CLASS,
    forJob: jobId(n),
    runsJob: jobId(n),
    runnerId: n,
    phaseSinceMs: NOW_MS,
    missing: false,
    unknown: false,
    runnerExited: false,
    runnerWord: undefined,
    why: undefined,
    lastEpoch: 3,
    tracking: {
      bytesUnsealed: 100 * MB,
      bytesInStore: 0,
      dirtyBytesPerSecond: 0,
      lastCheckpoint: null,
    },
    keyed: true,
    rewindable: false,
    lastCheckpointAtMs: undefined,
    leaseOverAtMs: undefined,
    held: false,
    resize: undefined,
    resizing: false,
    ...over,
  };
}

export function move(n: number, over: Partial<ObservedMigration> = {}): ObservedMigration {
  return {
    id: MigrationId.parse(`old-${n}`),
    vmId: vmId(n),
    kind: 'live',
    from: hostId(1),
    to: hostId(2),
    epoch: 3,
    phase: 'precopy',
    given: false,
    deadlineMs: NOW_MS + 60_000,
    attempts: 0,
    phaseSinceMs: NOW_MS - 1_000,
    startedAtMs: NOW_MS - 1_000,
    bytesLeft: 0,
    sourceKnows: true,
    targetKnows: true,
    ...over,
  };
}

export function planned(world: Partial<Observed>, config: Partial<PlannerConfig> = {}): Step[] {
  return plan({
    observed: {
      ...{ jobs: [job(1)], hosts: [host(1), host(2)], vms: [vm(1)] },
      ...{ migrations: [], wishes: [], leftCopies: [] },
      ...world,
    },
    config: { ...DEFAULT_PLANNER_CONFIG, ...config },
    nowMs: NOW_MS,
    newVmIds: Array.from({ length: 50 }, (_, n) => vmId(1000 + n)),
    newMigrationIds: Array.from({ length: 50 }, (_, n) => MigrationId.parse(`m-${n}`)),
  });
}

export function shown(step: Step): string {
  switch (step.kind) {
    case 'move-vm':
      return `move ${step.vmId}>${step.to} epoch ${step.epoch}`;
    case 'abort-migration':
      return `abort ${step.vmId} at ${[step.source, step.target].filter(Boolean).join('+')}`;
    case 'resume-vm':
      return `${step.how} ${step.vmId}>${step.to} epoch ${step.epoch}`;
    case 'end-migration':
      return `${step.phase} ${step.vmId}`;
    case 'lose-job':
      return `lose ${step.jobId}`;
    case 'end-wish':
      return `end wish: ${step.why}`;
    case 'start-vm':
      return `start ${step.jobId}@${step.hostId}`;
    default:
      return `${step.kind.split('-')[0]} ${step.vmId}`;
  }
}

export const wish = (over = {}) => ({
  id: MigrationId.parse('wish-1'),
  vmId: vmId(1),
  to: undefined,
  deadlineMs: undefined,
  askedAtMs: NOW_MS,
  ...over,
});
