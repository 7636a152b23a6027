/** What the planner sees: one consistent picture of jobs, hosts and VMs, and nothing else. */
import type { Capacity } from '../../host-agent/protocol/host-facts.ts';
import type { HostNotice } from '../../host-agent/protocol/host-notice.ts';
import type { HostId, JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import type { TrackingReport } from '../../host-agent/protocol/migration-messages.ts';
import type { VmSize } from '../../host-agent/protocol/resize-messages.ts';
import type { VmPhase } from '../../host-agent/protocol/vm-report.ts';
import type { MoveKind, MovePhase } from '../records/migration-record.ts';

/**
 * A workflow job, as far as GitHub has told us:
 *
 *   queued → in-progress → completed        refused: its label cannot be served (stays so)
 *      └──────────┴───────→ lost            lost: its VM died after `in_progress`; cause recorded
 */
export type JobState = 'queued' | 'in-progress' | 'completed' | 'refused' | 'lost';

/** So many VMs at once for all jobs with this key. */
export interface JobCap {
  readonly key: string;
  readonly maxVms: number;
  /** For the user. */
  readonly name: string;
}

/** A job's place among others that want the same fleet. */
export interface JobShare {
  readonly installationId: number;
  readonly owner: string;
  readonly repo: string;
  /** The higher goes first. */
  readonly priority: number;
  readonly caps: readonly JobCap[];
}

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
  readonly share: JobShare;
  /** It may go on from a checkpoint, which does again what it did since. */
  readonly rewindable: boolean;
}

export interface ObservedHost {
  readonly id: HostId;
  /** Only a `connected` one, admitted to the pool, is given VMs; `draining`: so, but it goes away. */
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
  /** The operator wants it empty. */
  readonly drained: boolean;
  /** The provider says that it does not exist any more. */
  readonly gone: boolean;
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
  /** GitHub's word on a runner that was assigned: at some other job, or forgotten unused. */
  readonly runnerWord: 'taken' | 'gone' | undefined;
  /** When the phase was reached. */
  readonly phaseSinceMs: number;
  /** Its record exists, but its connected host has not reported it since the record was made. */
  readonly missing: boolean;
  /** A host reports it, but there is no record of it. */
  readonly unknown: boolean;
  readonly runnerExited: boolean;
  readonly why: string | undefined;
  /** Above this one is the epoch of the next attempt to move it. */
  readonly lastEpoch: number;
  /** Undefined: it is not tracked, so it cannot be moved now. */
  readonly tracking: TrackingReport | undefined;
  /** It has a key, without which no other host can take it. */
  readonly keyed: boolean;
  /** It holds a run lease and takes checkpoints. */
  readonly rewindable: boolean;
  readonly lastCheckpointAtMs: number | undefined;
  /** When its run lease has surely expired; undefined: not known, or it has none. */
  readonly leaseOverAtMs: number | undefined;
  /** Its job wants it to stay on its host: only a notice moves it. */
  readonly held: boolean;
  /** Its job wants this size of it; undefined: it has what it wants, or cannot have it. */
  readonly resize: { readonly size: VmSize; readonly askedAtMs: number } | undefined;
  /** Its host is at it. */
  readonly resizing: boolean;
}

/** One attempt to bring a VM to another host: under way, or ended a moment ago. */
export interface ObservedMigration {
  readonly id: MigrationId;
  readonly vmId: VmId;
  readonly kind: MoveKind;
  readonly from: HostId;
  readonly to: HostId | undefined;
  readonly epoch: number;
  readonly phase: MovePhase;
  /** The source gave the token: only the target may run the VM, nothing can be aborted. */
  readonly given: boolean;
  readonly deadlineMs: number;
  readonly attempts: number;
  readonly phaseSinceMs: number;
  readonly startedAtMs: number;
  readonly bytesLeft: number;
  /** Its source has taken it up. */
  readonly sourceKnows: boolean;
  /** Its target has taken it up; of a VM in the store: reports the VM. */
  readonly targetKnows: boolean;
}

/** An operator wants the VM to move; the migration will have the wish's id. */
export interface ObservedWish {
  readonly id: MigrationId;
  readonly vmId: VmId;
  readonly to: HostId | undefined;
  readonly deadlineMs: number | undefined;
  readonly askedAtMs: number;
}

export interface Observed {
  readonly jobs: readonly ObservedJob[];
  readonly hosts: readonly ObservedHost[];
  readonly vms: readonly ObservedVm[];
  readonly migrations: readonly ObservedMigration[];
  readonly wishes: readonly ObservedWish[];
  /** Ended copies of VMs that live elsewhere: their hosts may forget them. */
  readonly leftCopies: readonly { readonly vmId: VmId; readonly hostId: HostId }[];
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
  /** An agent that still runs has dialled again by then, after an end of the control plane, too. */
  readonly comebackLimitMs: number;
  /** What each host's link carries; store and other hosts share it. */
  readonly linkBytesPerSecond: number;
  /** There is a chunk store: VMs can be parked. */
  readonly canPark: boolean;
  /** Moves and parkings under way from one host: more would share its link and all end late. */
  readonly maxMovesPerSource: number;
  readonly maxMovesPerTarget: number;
  /** Hosts whose evacuation is planned in one tick, the most urgent ones. */
  readonly maxEvacuationsPerTick: number;
  /** What a notice without a deadline leaves: the shortest that a cloud gives. */
  readonly untimedNoticeMs: number;
  /** How long a move may take that nothing hurries. */
  readonly moveLimitMs: number;
  /** An agent that was asked has taken a move up by then. */
  readonly handshakeLimitMs: number;
  /** Until the same target is tried again after an attempt failed. */
  readonly moveRetryMs: number;
  /** How long an operator's wish may wait for room or for tracking. */
  readonly wishLimitMs: number;
  /** How long nobody may know where a VM is before it is held for lost. */
  readonly doubtLimitMs: number;
  /** How long a VM may wait in the store; GitHub gives its job up long before. */
  readonly parkedLimitMs: number;
  /** Hosts that are asked to resume one VM. */
  readonly maxResumes: number;
}

export const DEFAULT_PLANNER_CONFIG: PlannerConfig = Object.freeze({
  maxVms: 1000,
  maxVmsPerJob: 5,
  maxStartsPerTick: 100,
  startTimeoutMs: 120_000,
  assignTimeoutMs: 300_000,
  completionGraceMs: 20_000,
  hostAwayTimeoutMs: 60_000,
  comebackLimitMs: 30_000,
  linkBytesPerSecond: 125_000_000,
  canPark: true,
  maxMovesPerSource: 2,
  maxMovesPerTarget: 4,
  maxEvacuationsPerTick: 200,
  untimedNoticeMs: 30_000,
  moveLimitMs: 600_000,
  handshakeLimitMs: 10_000,
  moveRetryMs: 5_000,
  wishLimitMs: 120_000,
  doubtLimitMs: 600_000,
  parkedLimitMs: 3_600_000,
  maxResumes: 5,
});
