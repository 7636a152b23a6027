/**
 * What the reconciler needs of the world, one small interface each, so that tests and the
 * 10,000-job bench can stand in for any of them.
 */
import type { Refused } from '../../host-agent/protocol/errors.ts';
import type { HostFacts, PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import type { HostId, JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { AgentOutcome, AgentRequest, Report } from '../../host-agent/protocol/messages.ts';
import type { FlipEndpoint, VmKey } from '../../host-agent/protocol/migration-messages.ts';
import type { DaySpend } from '../planner/fleet/day-spend.ts';
import type { HostPrice } from '../records/job-cost.ts';
import type { MigrationRecord, MoveWish } from '../records/migration-record.ts';
import type { JobFacts, JobMoment, JobOrigin, JobRecord, VmRecord } from '../records/records.ts';

/** A host as its agent's connection shows it. */
export interface FleetHost {
  readonly id: HostId;
  readonly hostname: string;
  readonly state: 'connected' | 'away' | 'turned-away';
  readonly turnedAwayWhy: string | undefined;
  readonly facts: HostFacts | undefined;
  readonly report: Report | undefined;
  /** When `state` last changed. */
  readonly stateSinceMs: number;
}

/** The host-agents. Only the process that holds the reconciler's lease has connections. */
export interface Fleet {
  hosts(): readonly FleetHost[];
  /** Rejects when the host is away or does not answer in REQUEST_TIMEOUT_MS. */
  request(hostId: HostId, request: AgentRequest, signal?: AbortSignal): Promise<AgentOutcome>;
  /** Calls back on each connect, disconnect and report, with nothing in it: a hint to look. */
  onChange(listener: () => void): () => void;
}

/** Where a runner is registered; `repo` counts only where no organisation owns it. */
export type RunnerPlace = Pick<JobOrigin, 'installationId' | 'owner' | 'repo' | 'scope'>;

export interface MintedRunner {
  readonly kind: 'minted';
  readonly runnerId: number;
  readonly jitConfig: string;
}

export type Removal = 'removed' | 'busy' | 'absent' | 'denied';

export interface Runners {
  /** Takes one of the registrations that GitHub's limits leave for now; false: there is none. */
  mayMint(place: Pick<RunnerPlace, 'installationId' | 'owner'>): boolean;
  /**
   * Registers a JIT runner for the job. A taken name (409) is deregistered first if it is idle;
   * `refused` (422): GitHub will never take these labels.
   */
  mint(request: {
    readonly origin: JobOrigin;
    readonly labels: readonly string[];
    readonly runnerName: string;
  }): Promise<MintedRunner | Refused>;
  /**
   * A busy runner is never removed; `denied`: the App may not remove any there (any more). Rejects
   * where GitHub's limits have no room for it now.
   */
  remove(origin: RunnerPlace, runnerId: number): Promise<Removal>;
}

export interface JobNotices {
  /** Tells the job's author, where the App may write checks; otherwise does nothing. */
  refused(job: JobRecord, why: string): Promise<void>;
  lost(job: JobRecord, cause: string): Promise<void>;
}

/** GitHub's word on jobs: for recovery when Redis was emptied and for jobs that went quiet. */
export interface JobSource {
  readJob(origin: JobOrigin, id: JobId): Promise<JobFacts | undefined>;
  /** Every queued or running job that any installation shows; bounded pages. */
  listOpenJobs(): Promise<readonly JobFacts[]>;
}

/**
 * What is known of each job for good, on disk (SQLite): survives Redis. What is written can be read
 * at once; it is on disk when `written` has resolved.
 */
export interface Evidence {
  /** Rejects when the disk did not take what was written just now: none of it is kept then. */
  written(): Promise<void>;
  rememberJob(job: JobRecord): void;
  rememberVm(vm: VmRecord): void;
  moment(jobId: JobId, moment: JobMoment, atMs: number): void;
  timeline(jobId: JobId): readonly { readonly moment: JobMoment; readonly atMs: number }[];
  openJobs(): readonly JobRecord[];
  /** Lost jobs that GitHub is still to be asked to run again. */
  jobsToRerun(): readonly JobRecord[];
  /** VMs that had not ended when they were last written. */
  openVms(): readonly VmRecord[];
  readJob(jobId: JobId): JobRecord | undefined;
  readVm(vmId: VmId): VmRecord | undefined;
  rememberMigration(migration: MigrationRecord): void;
  readMigration(id: MigrationId): MigrationRecord | undefined;
  /** Migrations that had not ended when they were last written: parked VMs among them. */
  openMigrations(): readonly MigrationRecord[];
  /** All attempts to move this job's VM, in the order of their starts. */
  movesOf(jobId: JobId): readonly MigrationRecord[];
  rememberWish(wish: MoveWish): void;
  readWish(id: MigrationId): MoveWish | undefined;
  openWishes(): readonly MoveWish[];
  /** A drained host takes no VMs and its VMs leave, until that is undone. */
  setDrained(hostId: HostId, drained: boolean, nowMs: number): void;
  drainedHosts(): ReadonlySet<HostId>;
  /** Adds to what machines have cost on a day. */
  addSpend(spend: DaySpend): void;
  /** Undefined: nothing was counted on that day. */
  spendOn(day: string): DaySpend | undefined;
  /** The provider listed this machine. */
  rememberMachine(machineId: string, nowMs: number): void;
  wasMachine(machineId: string): boolean;
  /** What the host costs from then on. */
  rememberPrice(hostId: HostId, price: HostPrice): void;
  /** In the order of time. */
  pricesOf(hostId: HostId): readonly HostPrice[];
}

/** The keys that VMs' chunks are sealed with. */
export interface Keys {
  issue(vmId: VmId): VmKey;
  /** Throws for what is not this VM's wrapped key. */
  unwrap(vmId: VmId, wrapped: string): VmKey;
}

/** The VMs' ways out that live on when they move (app/gateways). */
export interface Gateways {
  /** For a new VM, for good; null: no gateway is there. */
  assign(vmId: VmId): Promise<VmRecord['network']>;
  /** Before the source is asked to send; undefined: the VM moves without its gateway's help. */
  announce(move: {
    readonly vm: Pick<VmRecord, 'id' | 'network'>;
    readonly migrationId: MigrationId;
    readonly credential: string;
  }): Promise<FlipEndpoint | undefined>;
  /** As it is now: another gateway may stand in for the one that the record names. */
  networkNow(network: VmRecord['network']): VmRecord['network'];
  /** Tells every gateway where the VMs are now. */
  refresh(): Promise<unknown>;
}

/** Which of the provider's machines have ended. */
export interface Machines {
  /** True once the provider's word leaves no doubt that this host does not run any more. */
  isGone(host: Pick<FleetHost, 'id' | 'hostname'>): boolean;
}

export interface PoolSource {
  /** The pool that new hosts must fit and new VMs start from. */
  pool(): PoolSpec;
}

/** Fresh single-use tokens for hosts that a provider launches. */
export interface EnrolmentTokens {
  issue(): string;
}
