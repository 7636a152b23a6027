/** What the API shows, as schemas: both sides of the socket check against these. */
import { z } from 'zod';
import { OfferedPort, VmTraffic } from '../../host-agent/protocol/gateway-messages.ts';
import { Capacity, HostFacts, PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import { HostNotice } from '../../host-agent/protocol/host-notice.ts';
import { Digest, HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { WAITING_CAUSES } from '../planner/explain-waiting.ts';
import { HostStart } from '../reconciler/fleet/host-starts.ts';
import type { FleetHost } from '../reconciler/ports.ts';
import { MigrationRecord } from '../records/migration-record.ts';
import { JobMoment, JobRecord, VmRecord } from '../records/records.ts';

export const JobView = JobRecord.omit({ generation: true });
export type JobView = Readonly<z.infer<typeof JobView>>;

/** Without the wrapped key: it is no secret, and nobody's business. */
export const VmView = VmRecord.omit({ generation: true, wrappedKey: true, pool: true });
export type VmView = Readonly<z.infer<typeof VmView>>;

/** One attempt to move a VM, with its figures. */
export const MoveView = MigrationRecord.omit({ generation: true });
export type MoveView = Readonly<z.infer<typeof MoveView>>;

/** What became of an operator's wish: it waits, is a migration by now, or could not be fulfilled. */
export const MigrationStatus = z.object({
  id: MigrationId,
  state: z.enum(['waiting', 'moving', 'done', 'failed']),
  why: z.string().nullable(),
  migration: MoveView.nullable(),
});
export type MigrationStatus = Readonly<z.infer<typeof MigrationStatus>>;

export const DrainView = z.object({ hostId: HostId, drained: z.boolean(), vmsLeft: z.int() });
export type DrainView = Readonly<z.infer<typeof DrainView>>;

export const JobDetail = z.object({
  job: JobView,
  vm: VmView.nullable(),
  /** What it waits for while it is queued; null: nothing, or nobody knows on this process. */
  waiting: z
    .object({ cause: z.enum(WAITING_CAUSES), why: z.string(), sinceMs: z.int() })
    .nullable(),
  timeline: z.array(z.object({ moment: JobMoment, atMs: z.int() })),
  moves: z.array(MoveView),
  /** What was left of GitHub's lock at worst (lock-margin.ts); null when it never moved. */
  lockMarginMs: z.number().nullable(),
  /** Of its VM until now, in US dollars (job-cost.ts); null on hosts whose price nobody knows. */
  cost: z.object({ usd: z.number(), onDemandUsd: z.number().nullable() }).nullable(),
});
export type JobDetail = Readonly<z.infer<typeof JobDetail>>;

export const HostView = z.object({
  id: HostId,
  hostname: z.string(),
  state: z.enum(['connected', 'away', 'turned-away']),
  /** Why it was turned away: one sentence or more. */
  why: z.string().nullable(),
  stateSinceMs: z.int(),
  facts: HostFacts.nullable(),
  capacity: Capacity.nullable(),
  vms: z.array(VmId),
  artifacts: z.array(Digest),
  /** The cloud takes it back, or may. */
  notice: HostNotice.nullable(),
  /** The operator wants it empty. */
  drained: z.boolean(),
});
export type HostView = Readonly<z.infer<typeof HostView>>;

export const GatewayView = z.object({
  id: HostId,
  hostname: z.string(),
  state: z.enum(['connected', 'away']),
  /** Its address on the hosts' network; null while it is away. */
  underlay: z.ipv4().nullable(),
  /** Null while it is away. */
  role: z.enum(['acting', 'standby']).nullable(),
  /** The public address that it shares with its standbys; null: none, or away. */
  floating: z.ipv4().nullable(),
  /** VMs whose packets it passes on, or would, by its last word. */
  vms: z.int(),
  stateSinceMs: z.int(),
});
export type GatewayView = Readonly<z.infer<typeof GatewayView>>;

const OfferView = z.object({
  id: z.string(),
  capacity: Capacity,
  spot: z.boolean(),
  pricePerHourUsd: z.number(),
  place: z.string(),
  /** The share of its like that was taken back in the last month, where the cloud says so. */
  reclaimsPerMonth: z.number().optional(),
  /** How likely its place has what is asked for, 1 to 10, where the cloud says so. */
  placementScore: z.number().optional(),
});

/** What the provider sells, and why what was chosen was chosen. */
export const MarketView = z.object({
  provider: z.string(),
  /** The cheapest per vCPU first. */
  offers: z.array(OfferView),
  /** Not on sale for a while, and why. */
  shut: z.array(z.object({ offerId: z.string(), why: z.string(), untilMs: z.int() })),
  /** What the fleet costs now; null where hosts cost nothing. */
  usdPerHour: z.number().nullable(),
  maxUsdPerHour: z.number().nullable(),
  /** Since midnight, UTC. */
  usdToday: z.number().nullable(),
  maxUsdPerDay: z.number().nullable(),
  decisions: z.array(
    z.object({
      atMs: z.int(),
      kind: z.enum(['launch', 'empty', 'keep', 'terminate']),
      subject: z.string(),
      why: z.string(),
      failed: z.string().nullable(),
    }),
  ),
  /** How long bought hosts took to run their first VM; the newest last. */
  starts: z.array(HostStart),
});
export type MarketView = Readonly<z.infer<typeof MarketView>>;

export const JobList = z.object({ jobs: z.array(JobView) });
export const VmList = z.object({ vms: z.array(VmView) });
export const HostList = z.object({ hosts: z.array(HostView) });
export const GatewayList = z.object({ gateways: z.array(GatewayView) });
export type GatewayList = Readonly<z.infer<typeof GatewayList>>;
/** Null: the VM's gateway is away. */
export const OfferedPortList = z.object({
  vmId: VmId,
  address: z.ipv4().nullable(),
  ports: z.array(OfferedPort),
});
export type OfferedPortList = Readonly<z.infer<typeof OfferedPortList>>;
/** Since the VM's gateway has had it. */
export const VmTrafficView = VmTraffic.extend({ vmId: VmId, gatewayId: HostId });
export type VmTrafficView = Readonly<z.infer<typeof VmTrafficView>>;
export const IssuedToken = z.object({ token: z.string(), expiresAtMs: z.int() });
export const VersionView = z.object({ version: z.string(), api: z.literal('v1') });
export const PoolView = z.object({ pool: PoolSpec });
export const HealthView = z.object({
  ready: z.boolean(),
  checks: z.array(z.object({ name: z.string(), ready: z.boolean(), detail: z.string() })),
});
/** RFC 9457. */
export const Problem = z.object({
  type: z.literal('about:blank'),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
});
export type Problem = Readonly<z.infer<typeof Problem>>;

/** The record without its book-keeping. */
export function viewJob({ generation: _, ...job }: JobRecord): JobView {
  return job;
}

export function viewVm({ generation: _, wrappedKey: __, pool: ___, ...vm }: VmRecord): VmView {
  return vm;
}

export function viewMove({ generation: _, ...move }: MigrationRecord): MoveView {
  return move;
}

export function viewHost(host: FleetHost, drained: boolean): HostView {
  return {
    id: host.id,
    hostname: host.hostname,
    state: host.state,
    why: host.turnedAwayWhy ?? null,
    stateSinceMs: host.stateSinceMs,
    facts: host.facts ?? null,
    capacity: host.facts?.capacity ?? null,
    vms: host.report?.vms.map((vm) => vm.vmId) ?? [],
    artifacts: [...(host.report?.artifacts ?? [])],
    notice: host.report?.notice ?? null,
    drained,
  };
}
