/**
 * One picture of the world from the records and the hosts' reports. Pure.
 *
 *   job records ──┐
 *   migrations ───┼→ advance-moves → merge-report → Observed for the planner, and the records that
 *   VM records ───┤                                 changed
 *   reports ──────┘
 *
 * A host that VM records name but that never connected to this process counts as away since the
 * process began to look. A reported VM without a record is taken over where the evidence knows it
 * (`adoptable`); otherwise it is shown to the planner as unknown.
 *
 * A host is believed about the VMs that were placed on it only, or that have a migration to it: one
 * that was broken into must not report other hosts' VMs dead, or take them over. Of a VM that was on
 * a host twice, only its word of the later time counts.
 */

import type { PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import type { HostId, JobId, VmId } from '../../host-agent/protocol/ids.ts';
import type { VmReport } from '../../host-agent/protocol/vm-report.ts';
import { surelyOverAtMs } from '../authority/rewind.ts';
import { wantsRewind } from '../labels/classify-job.ts';
import type {
  JobShare,
  Observed,
  ObservedHost,
  ObservedJob,
  ObservedVm,
  ObservedWish,
} from '../planner/observed.ts';
import { isOpenMove, type MigrationRecord, type MoveWish } from '../records/migration-record.ts';
import type { JobRecord, VmRecord } from '../records/records.ts';
import { type AdvancedMove, advanceMoves, movesByVm, placeVm } from './advance-moves.ts';
import { mergeReport } from './merge-report.ts';
import type { FleetHost } from './ports.ts';

export interface Readings {
  readonly jobs: readonly JobRecord[];
  readonly vms: readonly VmRecord[];
  readonly hosts: readonly FleetHost[];
  readonly pool: PoolSpec;
  readonly shareOf: (job: JobRecord) => JobShare;
  /** Evidence of reported VMs that have no record. */
  readonly adoptable: ReadonlyMap<VmId, VmRecord>;
  /** Under way, or ended a moment ago. */
  readonly migrations: readonly MigrationRecord[];
  readonly wishes: readonly MoveWish[];
  readonly drained: ReadonlySet<HostId>;
  readonly isGone: (host: FleetHost) => boolean;
  /** When this process began to look. */
  readonly lookingSinceMs: number;
  readonly nowMs: number;
}

export interface Assembled {
  readonly observed: Observed;
  /** Records to be written: changed by a report, or taken over. Generations are the stored ones. */
  readonly changedVms: readonly VmRecord[];
  readonly changedMoves: readonly AdvancedMove[];
}

interface Reported {
  readonly hostId: HostId;
  readonly vm: VmReport;
}

/** What each VM is up to: its migrations and its job. */
interface Work {
  readonly moves: ReadonlyMap<VmId, readonly MigrationRecord[]>;
  readonly runs: ReadonlyMap<VmId, JobId>;
}

/** A VM that has just arrived need not be in its new host's report yet. */
const ARRIVAL_GRACE_MS = 10_000;

export function assembleObserved(readings: Readings): Assembled {
  const { migrations, nowMs } = readings;
  const hosts = new Map(readings.hosts.map((host) => [host.id, host]));
  const advanced = advanceMoves(migrations, hosts, nowMs);
  const moves = movesByVm(advanced.map(({ now }) => now));
  const runs = runningJobs(readings.jobs);
  const merged = mergeVms(readings, { moves, runs });
  const places = placesOf(merged.map(({ now }) => now));
  const unknown = [...reportsByVm(readings.hosts, places).values()].filter(
    ({ vm }) => !places.has(vm.vmId),
  );
  return {
    observed: {
      jobs: readings.jobs.map((job) => observeJob(job, readings.shareOf(job))),
      hosts: observeHosts(readings),
      vms: [
        ...merged.map(({ now, report }) => {
          const host = hosts.get(now.hostId);
          const isNew = hasArrived(moves.get(now.id), nowMs);
          return observeVm(now, { report, isMissing: !isNew && lacks(host, now.id) });
        }),
        ...unknown.map((reported) => observeUnknown(reported, runs, nowMs)),
      ],
      migrations: advanced.map(({ seen }) => seen),
      wishes: readings.wishes.map(observeWish),
      leftCopies: findLeftCopies(readings.hosts, places),
    },
    changedVms: merged.flatMap(({ record, now }) =>
      record !== now || readings.adoptable.has(record.id) ? [now] : [],
    ),
    changedMoves: advanced.filter(({ before, now }) => before !== now),
  };
}

/** Each record where its migrations have brought it, then as its host there reports it. */
function mergeVms({ vms, adoptable, hosts, nowMs }: Readings, { moves, runs }: Work) {
  const stored = [...vms, ...adoptable.values()];
  const placed = stored.map((record) => placeVm(record, moves.get(record.id) ?? []));
  const reports = reportsByVm(hosts, placesOf(placed));
  return stored.map((record, at) => {
    const there = placed[at] ?? record;
    const report = reports.get(record.id)?.vm;
    const isMoving = moves.get(record.id)?.some(isOpenMove) ?? false;
    const before = adoptable.has(record.id) ? adopt(there, reports) : there;
    const runsJob = runs.get(record.id);
    return {
      record,
      report,
      now: mergeReport({ record: before, report, runsJob, isMoving, nowMs }),
    };
  });
}

/** Reported VMs that still run and have no record: candidates for `adoptable`. */
export function unrecordedVms(
  hosts: readonly FleetHost[],
  vms: readonly VmRecord[],
): readonly VmId[] {
  const known = new Set(vms.map((vm) => vm.id));
  return [...reportsByVm(hosts, new Map()).values()].flatMap(({ vm }) =>
    known.has(vm.vmId) || hasEnded(vm) ? [] : [vm.vmId],
  );
}

/** A host that has reported since it connected. */
export function hasReported(host: FleetHost): boolean {
  return host.state === 'connected' && host.report !== undefined && host.facts !== undefined;
}

type Places = ReadonlyMap<VmId, Pick<VmRecord, 'hostId' | 'epoch'>>;

function placesOf(vms: readonly VmRecord[]): Places {
  return new Map(vms.map((vm) => [vm.id, vm]));
}

/** The host is heard and says nothing of the VM. */
function lacks(host: FleetHost | undefined, vmId: VmId): boolean {
  if (host === undefined || !hasReported(host)) return false;
  return host.report?.vms.every((vm) => vm.vmId !== vmId) ?? false;
}

function hasArrived(moves: readonly MigrationRecord[] | undefined, nowMs: number): boolean {
  return moves?.some(({ phaseSinceMs }) => nowMs - phaseSinceMs < ARRIVAL_GRACE_MS) ?? false;
}

/** What hosts still say of VMs that ended there and live elsewhere. */
function findLeftCopies(hosts: readonly FleetHost[], places: Places): Observed['leftCopies'] {
  return hosts.filter(hasReported).flatMap((host) =>
    (host.report?.vms ?? []).flatMap((vm) => {
      const place = places.get(vm.vmId);
      const isLeft = place !== undefined && place.hostId !== host.id && hasEnded(vm);
      return isLeft ? [{ vmId: vm.vmId, hostId: host.id }] : [];
    }),
  );
}

/** Of a VM that nobody placed, the newest holder's word counts. */
function reportsByVm(hosts: readonly FleetHost[], places: Places): ReadonlyMap<VmId, Reported> {
  const reports = new Map<VmId, Reported>();
  for (const host of hosts) {
    if (!hasReported(host)) continue;
    for (const vm of host.report?.vms ?? []) {
      const place = places.get(vm.vmId);
      if (place !== undefined && (place.hostId !== host.id || vm.epoch < place.epoch)) continue;
      const other = reports.get(vm.vmId);
      if (other === undefined || other.vm.epoch < vm.epoch)
        reports.set(vm.vmId, { hostId: host.id, vm });
    }
  }
  return reports;
}

/** Evidence may be older than the VM's end that was never seen: the report is the truth of it. */
function adopt(record: VmRecord, reports: ReadonlyMap<VmId, Reported>): VmRecord {
  const reported = reports.get(record.id);
  if (reported === undefined) return record;
  const revived = record.phase === 'stopped' || record.phase === 'failed';
  return {
    ...record,
    phase: revived ? reported.vm.phase : record.phase,
    why: revived ? null : record.why,
  };
}

function runningJobs(jobs: readonly JobRecord[]): ReadonlyMap<VmId, JobId> {
  const running = new Map<VmId, JobId>();
  for (const job of jobs)
    if (job.vmId !== null && job.startedAtMs !== null) running.set(job.vmId, job.id);
  return running;
}

function observeJob(job: JobRecord, share: JobShare): ObservedJob {
  const over = job.state === 'lost' && job.completedAtMs !== null;
  return {
    id: job.id,
    state: over ? 'completed' : job.state,
    class: job.class,
    queuedAtMs: job.queuedAtMs,
    vmId: job.vmId ?? undefined,
    vmsStarted: job.vmsStarted,
    startedAtMs: job.startedAtMs ?? undefined,
    labelsKey: [...new Set(job.labels.map((label) => label.toLowerCase()))].sort().join('\n'),
    share,
    rewindable: wantsRewind(job.labels),
  };
}

function observeHosts(readings: Readings): ObservedHost[] {
  const { hosts, vms, drained, lookingSinceMs } = readings;
  const known = new Set(hosts.map((host) => host.id));
  const absent = new Set(vms.map((vm) => vm.hostId).filter((id) => !known.has(id)));
  return [
    ...hosts.map((host) => observeHost(host, readings)),
    ...[...absent].map((id) => ({
      id,
      state: 'away' as const,
      stateSinceMs: lookingSinceMs,
      capacity: { vcpus: 0, memoryMib: 0, diskGib: 0 },
      templateReady: false,
      notice: undefined,
      drained: drained.has(id),
      gone: false,
    })),
  ];
}

function observeHost(host: FleetHost, { pool, drained, isGone }: Readings): ObservedHost {
  const artifacts = host.report?.artifacts ?? [];
  return {
    id: host.id,
    state: stateOf(host, drained),
    stateSinceMs: host.stateSinceMs,
    capacity: host.facts?.capacity ?? { vcpus: 0, memoryMib: 0, diskGib: 0 },
    templateReady: artifacts.includes(pool.template) && artifacts.includes(pool.image),
    notice: hasReported(host) ? (host.report?.notice ?? undefined) : undefined,
    drained: drained.has(host.id),
    gone: host.state === 'away' && isGone(host),
  };
}

/** A hint alone empties no host: clouds give many that nothing comes of. */
function stateOf(host: FleetHost, drained: ReadonlySet<HostId>): ObservedHost['state'] {
  if (host.state === 'turned-away') return 'turned-away';
  if (!hasReported(host)) return 'away';
  const leaves = drained.has(host.id) || host.report?.notice?.kind === 'interruption';
  return leaves ? 'draining' : 'connected';
}

interface VmSight {
  readonly report: VmReport | undefined;
  readonly isMissing: boolean;
}

function observeVm(record: VmRecord, { report, isMissing }: VmSight): ObservedVm {
  return {
    id: record.id,
    hostId: record.hostId,
    phase: record.phase,
    class: record.class,
    forJob: record.forJob ?? undefined,
    runsJob: record.runsJob ?? undefined,
    runnerId: record.runnerId ?? undefined,
    runnerWord: record.runnerWord ?? undefined,
    phaseSinceMs: record.phaseSinceMs,
    missing: report === undefined && isMissing,
    unknown: false,
    runnerExited: report?.runner.state === 'exited',
    why: record.why ?? undefined,
    lastEpoch: record.lastEpoch,
    tracking: report?.tracking,
    keyed: record.wrappedKey !== null,
    rewindable: record.rewindable,
    lastCheckpointAtMs: record.lastCheckpointAtMs ?? undefined,
    leaseOverAtMs: record.leaseUntilMs === null ? undefined : surelyOverAtMs(record.leaseUntilMs),
    held: record.held !== null,
    resize: record.resize?.state === 'wanted' ? record.resize : undefined,
    resizing: report?.resize?.failed === null,
  };
}

function observeWish({ id, vmId, to, deadlineMs, askedAtMs }: MoveWish): ObservedWish {
  return { id, vmId, to: to ?? undefined, deadlineMs: deadlineMs ?? undefined, askedAtMs };
}

function observeUnknown(
  { hostId, vm }: Reported,
  runs: ReadonlyMap<VmId, JobId>,
  nowMs: number,
): ObservedVm {
  return {
    id: vm.vmId,
    hostId,
    phase: vm.phase,
    class: vm.class,
    forJob: undefined,
    runsJob: runs.get(vm.vmId),
    runnerId: undefined,
    runnerWord: undefined,
    phaseSinceMs: nowMs,
    missing: false,
    unknown: true,
    runnerExited: vm.runner.state === 'exited',
    why: vm.why ?? undefined,
    lastEpoch: vm.epoch,
    tracking: undefined,
    keyed: false,
    rewindable: false,
    lastCheckpointAtMs: undefined,
    leaseOverAtMs: undefined,
    held: false,
    resize: undefined,
    resizing: false,
  };
}

function hasEnded(vm: VmReport): boolean {
  return vm.phase === 'stopped' || vm.phase === 'failed';
}
