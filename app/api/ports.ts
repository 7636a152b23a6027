/** What the API reads and asks of the rest, one small interface each. */
import type { AgentRole } from '../../host-agent/protocol/enrolment.ts';
import type { Refused } from '../../host-agent/protocol/errors.ts';
import type { GatewayRole } from '../../host-agent/protocol/gateway-messages.ts';
import type { PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import type { HostId, JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { OfferedPorts } from '../gateways/gateway-keeper.ts';
import type { PortWish } from '../gateways/offer-port.ts';
import type { Gateway } from '../gateways/ports.ts';
import type { GatewayTraffic } from '../gateways/vm-traffic.ts';
import type { Offer, ShutOffer } from '../providers/provider.ts';
import type { Decision } from '../reconciler/fleet/fleet-buyer.ts';
import type { HostStart } from '../reconciler/fleet/host-starts.ts';
import type { FleetHost } from '../reconciler/ports.ts';
import type { Waiting } from '../reconciler/waiting-book.ts';
import type { JobCost } from '../records/job-cost.ts';
import type { MigrationRecord, MoveWish } from '../records/migration-record.ts';
import type { JobMoment, JobRecord, VmRecord } from '../records/records.ts';

export interface JobReader {
  /** Newest first, at most `limit`. */
  listJobs(filter: {
    readonly state: JobRecord['state'] | undefined;
    readonly limit: number;
  }): Promise<readonly JobRecord[]>;
  readJob(id: JobId): Promise<JobRecord | undefined>;
}

export interface VmReader {
  listVms(): Promise<readonly VmRecord[]>;
  /** Also VMs that have ended, where evidence of them is left. */
  readVm(id: VmId): Promise<VmRecord | undefined>;
}

export interface TimelineReader {
  timeline(jobId: JobId): readonly { readonly moment: JobMoment; readonly atMs: number }[];
}

export interface MoveReader {
  /** All attempts to move this job's VM, in the order of their starts. */
  movesOf(jobId: JobId): readonly MigrationRecord[];
  /** The migration, or the wish for it, newest knowledge first; undefined: nobody asked for it. */
  readStatus(id: MigrationId): Promise<{
    readonly wish: MoveWish | undefined;
    readonly migration: MigrationRecord | undefined;
  }>;
}

/** What operators ask for; recorded durably before it resolves, carried out by the reconciler. */
export interface Operations {
  move(wish: {
    readonly vmId: VmId;
    readonly to: HostId | null;
    readonly withinMs: number | null;
  }): Promise<MigrationId>;
  setDrained(hostId: HostId, drained: boolean): Promise<void>;
  drainedHosts(): ReadonlySet<HostId>;
}

export interface HostReader {
  hosts(): readonly FleetHost[];
}

export interface GatewayDoor {
  gateways(): readonly Gateway[];
  /** Of those that are there. */
  roles(): ReadonlyMap<HostId, GatewayRole>;
  /** Refused for a VM that has no gateway, and where no port is free. */
  offerPort(id: VmId, wish: PortWish): Promise<Refused | OfferedPorts>;
  /** Refused where nobody counts for the VM, or the one that does is away. */
  traffic(vm: VmRecord): Promise<Refused | GatewayTraffic>;
  /** Refused for one that is no standby. */
  takeOver(id: HostId): Promise<Refused | undefined>;
}

export interface HostDoor {
  /** Refused for a gateway whose tunnels nobody vouches for. */
  issueToken(
    ttlMs: number,
    role: AgentRole,
  ): Refused | { readonly kind: 'issued'; readonly token: string; readonly expiresAtMs: number };
  /** False when no such host was ever enrolled. */
  revoke(hostId: HostId): boolean;
}

export interface CostReader {
  /** Until now; undefined on hosts whose price nobody knows. */
  costOf(vm: VmRecord, moves: readonly MigrationRecord[]): JobCost | undefined;
}

export interface MarketReader {
  /** Throws what the provider throws when it cannot say what it sells. */
  look(signal: AbortSignal): Promise<{
    readonly provider: string;
    readonly offers: readonly Offer[];
    readonly shut: readonly ShutOffer[];
    readonly usdPerHour: number | null;
    readonly maxUsdPerHour: number | null;
    readonly usdToday: number | null;
    /** Null: the day is not limited. */
    readonly maxUsdPerDay: number | null;
    /** What was bought, emptied and given back lately, and why; the newest last. */
    readonly decisions: readonly Decision[];
    /** How long bought hosts took to run their first VM; the newest last. */
    readonly starts: readonly HostStart[];
  }>;
}

export interface HealthCheck {
  /** `redis`, `lease`, `agents-endpoint` …: named in the answer of /readyz. */
  readonly name: string;
  readonly ready: boolean;
  /** One sentence: in which state it is, or what is wrong. */
  readonly detail: string;
}

export interface Readiness {
  check(signal: AbortSignal): Promise<readonly HealthCheck[]>;
}

export interface WaitingReader {
  /** What a queued job waits for; undefined: it does not, or this process does not reconcile. */
  whyWaiting(id: JobId): Waiting | undefined;
}

export interface ApiPorts {
  readonly jobs: JobReader;
  readonly vms: VmReader;
  readonly timelines: TimelineReader;
  readonly hosts: HostReader;
  readonly gateways: GatewayDoor;
  readonly door: HostDoor;
  readonly moves: MoveReader;
  readonly operations: Operations;
  readonly pool: () => PoolSpec;
  readonly market: MarketReader;
  readonly costs: CostReader;
  readonly waiting: WaitingReader;
  readonly readiness: Readiness;
  readonly version: string;
}
