/**
 * One picture of the world from the records and the hosts' reports. Pure.
 *
 *   job records ─┐
 *   VM records ──┼→ merge-report → Observed for the planner, and the records that changed
 *   reports ─────┘
 *
 * A host that VM records name but that never connected to this process counts as away since the
 * process began to look. A reported VM without a record is taken over where the evidence knows it
 * (`adoptable`); otherwise it is shown to the planner as unknown.
 *
 * A host is believed about the VMs that were placed on it only: one that was broken into must not
 * report other hosts' VMs dead, or take them over.
 */

import type { PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import type { HostId, JobId, VmId } from '../../host-agent/protocol/ids.ts';
import type { VmReport } from '../../host-agent/protocol/vm-report.ts';
import type { Observed, ObservedHost, ObservedJob, ObservedVm } from '../planner/observed.ts';
import type { JobRecord, VmRecord } from '../records/records.ts';
import { mergeReport } from './merge-report.ts';
import type { FleetHost } from './ports.ts';

export interface Readings {
  readonly jobs: readonly JobRecord[];
  readonly vms: readonly VmRecord[];
  readonly hosts: readonly FleetHost[];
  readonly pool: PoolSpec;
  /** Evidence of reported VMs that have no record. */
  readonly adoptable: ReadonlyMap<VmId, VmRecord>;
  /** When this process began to look. */
  readonly lookingSinceMs: number;
  readonly nowMs: number;
}

export interface Assembled {
  readonly observed: Observed;
  /** Records to be written: changed by a report, or taken over. Generations are the stored ones. */
  readonly changedVms: readonly VmRecord[];
}

interface Reported {
  readonly hostId: HostId;
  readonly vm: VmReport;
}

export function assembleObserved(readings: Readings): Assembled {
  const reports = reportsByVm(readings.hosts, placesOf(readings));
  const runs = runningJobs(readings.jobs);
  const adopted = [...readings.adoptable.values()].map((record) => adopt(record, reports));
  const merged = [...readings.vms, ...adopted].map((record) => ({
    record,
    now: mergeReport({
      record,
      report: reports.get(record.id)?.vm,
      runsJob: runs.get(record.id),
      nowMs: readings.nowMs,
    }),
  }));
  const known = new Set(merged.map(({ record }) => record.id));
  const hosts = new Map(readings.hosts.map((host) => [host.id, host]));
  const unknown = [...reports.values()].filter(({ vm }) => !known.has(vm.vmId));
  return {
    observed: {
      jobs: readings.jobs.map(observeJob),
      hosts: observeHosts(readings),
      vms: [
        ...merged.map(({ now }) => observeVm(now, reports.get(now.id)?.vm, hosts.get(now.hostId))),
        ...unknown.map((reported) => observeUnknown(reported, runs, readings.nowMs)),
      ],
    },
    changedVms: merged.flatMap(({ record, now }) =>
      record !== now || readings.adoptable.has(record.id) ? [now] : [],
    ),
  };
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

function placesOf({ vms, adoptable }: Readings): ReadonlyMap<VmId, HostId> {
  return new Map([...adoptable.values(), ...vms].map((vm) => [vm.id, vm.hostId]));
}

/** Of a VM that nobody placed, the newest holder's word counts. */
function reportsByVm(
  hosts: readonly FleetHost[],
  places: ReadonlyMap<VmId, HostId>,
): ReadonlyMap<VmId, Reported> {
  const reports = new Map<VmId, Reported>();
  for (const host of hosts) {
    if (!hasReported(host)) continue;
    for (const vm of host.report?.vms ?? []) {
      if ((places.get(vm.vmId) ?? host.id) !== host.id) continue;
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

function observeJob(job: JobRecord): ObservedJob {
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
  };
}

function observeHosts({ hosts, vms, pool, lookingSinceMs }: Readings): ObservedHost[] {
  const known = new Set(hosts.map((host) => host.id));
  const absent = new Set(vms.map((vm) => vm.hostId).filter((id) => !known.has(id)));
  return [
    ...hosts.map((host) => observeHost(host, pool)),
    ...[...absent].map((id) => ({
      id,
      state: 'away' as const,
      stateSinceMs: lookingSinceMs,
      capacity: { vcpus: 0, memoryMib: 0, diskGib: 0 },
      templateReady: false,
      notice: undefined,
    })),
  ];
}

function observeHost(host: FleetHost, pool: PoolSpec): ObservedHost {
  const artifacts = host.report?.artifacts ?? [];
  return {
    id: host.id,
    state: stateOf(host),
    stateSinceMs: host.stateSinceMs,
    capacity: host.facts?.capacity ?? { vcpus: 0, memoryMib: 0, diskGib: 0 },
    templateReady: artifacts.includes(pool.template) && artifacts.includes(pool.image),
    notice: hasReported(host) ? (host.report?.notice ?? undefined) : undefined,
  };
}

/** A hint alone empties no host: clouds give many that nothing comes of. */
function stateOf(host: FleetHost): ObservedHost['state'] {
  if (host.state === 'turned-away') return 'turned-away';
  if (!hasReported(host)) return 'away';
  return host.report?.notice?.kind === 'interruption' ? 'draining' : 'connected';
}

function observeVm(
  record: VmRecord,
  report: VmReport | undefined,
  host: FleetHost | undefined,
): ObservedVm {
  return {
    id: record.id,
    hostId: record.hostId,
    phase: record.phase,
    class: record.class,
    forJob: record.forJob ?? undefined,
    runsJob: record.runsJob ?? undefined,
    runnerId: record.runnerId ?? undefined,
    phaseSinceMs: record.phaseSinceMs,
    missing: report === undefined && host !== undefined && hasReported(host),
    unknown: false,
    runnerExited: report?.runner.state === 'exited',
    why: record.why ?? undefined,
  };
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
    phaseSinceMs: nowMs,
    missing: false,
    unknown: true,
    runnerExited: vm.runner.state === 'exited',
    why: vm.why ?? undefined,
  };
}

function hasEnded(vm: VmReport): boolean {
  return vm.phase === 'stopped' || vm.phase === 'failed';
}
