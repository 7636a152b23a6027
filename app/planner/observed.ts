/** What the planner sees: one consistent picture of jobs, hosts and VMs, and nothing else. */
import type { Capacity } from '../../host-agent/protocol/host-facts.ts';
import type { HostNotice } from '../../host-agent/protocol/host-notice.ts';
import type { HostId, JobId, VmId } from '../../host-agent/protocol/ids.ts';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import type { VmPhase } from '../../host-agent/protocol/vm-report.ts';

/**
 * A workflow job, as far as GitHub has told us:
 *
 *   queued → in-progress → completed        refused: its label cannot be served (stays so)
 *      └──────────┴───────→ lost            lost: its VM died after `in_progress`; cause recorded
 */
export type JobState = 'queued' | 'in-progress' | 'completed' | 'refused' | 'lost';

export interface ObservedJob {
  readonly id: JobId;
  readonly state: JobState;
  readonly class: InstanceClass;
  readonly queuedAtMs: number;
  /** The VM whose runner GitHub gave this job; known from `in_progress` on. */
  readonly vmId: VmId | undefined;
  /** VMs started for this job so far; capped by `maxVmsPerJob`. */
  readonly vmsStarted: number;
  /** When GitHub started it, by our own clock's view; undefined before `in-progress`. */
  readonly startedAtMs: number | undefined;
  /** Its labels in one form: jobs with the same ones can take each other's runners. */
  readonly labelsKey: string;
}

export interface ObservedHost {
  readonly id: HostId;
  /** `connected` and admitted to the pool; only then it is given VMs. */
  readonly state: 'connected' | 'away' | 'turned-away' | 'draining';
  /** When `state` last changed. */
  readonly stateSinceMs: number;
  readonly capacity: Capacity;
  readonly templateReady: boolean;
  /**
   * The cloud's word on it, on this process's clock. An `interruption` makes it `draining`; a
   * `rebalance` leaves it connected, and it is given new VMs only where no other host has room.
   */
  readonly notice: HostNotice | undefined;
}

export interface ObservedVm {
  readonly id: VmId;
  readonly hostId: HostId;
  readonly phase: VmPhase;
  readonly class: InstanceClass;
  /** The job it was started for. */
  readonly forJob: JobId | undefined;
  /** The job that GitHub gave its runner, from `in_progress`. */
  readonly runsJob: JobId | undefined;
  /** GitHub's id of its runner, once minted. */
  readonly runnerId: number | undefined;
  /** When the phase was reached. */
  readonly phaseSinceMs: number;
  /** Its record exists, but its connected host has not reported it since the record was made. */
  readonly missing: boolean;
  /** A host reports it, but there is no record of it. */
  readonly unknown: boolean;
  readonly runnerExited: boolean;
  readonly why: string | undefined;
}

export interface Observed {
  readonly jobs: readonly ObservedJob[];
  readonly hosts: readonly ObservedHost[];
  readonly vms: readonly ObservedVm[];
}

export interface PlannerConfig {
  readonly maxVms: number;
  readonly maxVmsPerJob: number;
  /** New VMs in one tick: a fault in the planner can never start without limit. */
  readonly maxStartsPerTick: number;
  readonly startTimeoutMs: number;
  /** An assigned runner that got no job in this time is given up (JIT runners expire). */
  readonly assignTimeoutMs: number;
  /** How long a runner may have ended before GitHub says what became of its job. */
  readonly completionGraceMs: number;
  /** A VM whose host is away this long is held for dead. */
  readonly hostAwayTimeoutMs: number;
}

export const DEFAULT_PLANNER_CONFIG: PlannerConfig = Object.freeze({
  maxVms: 1000,
  maxVmsPerJob: 5,
  maxStartsPerTick: 100,
  startTimeoutMs: 120_000,
  assignTimeoutMs: 300_000,
  completionGraceMs: 20_000,
  hostAwayTimeoutMs: 60_000,
});
