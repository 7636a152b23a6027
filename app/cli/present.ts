/** The API's answers as text for people. Pure: `nowMs` is an argument. */
import { formatCost } from '../../host-agent/protocol/format-cost.ts';
import type { HostNotice } from '../../host-agent/protocol/host-notice.ts';
import { formatInstanceClass } from '../../host-agent/protocol/instance-class.ts';
import type { GatewayView, HostView, JobDetail, JobView, VmView } from '../api/views.ts';
import { presentMoves } from './present-moves.ts';
import { formatDuration, formatTable } from './table.ts';

const NONE = '-';

export function presentJobs(jobs: readonly JobView[], nowMs: number): string {
  if (jobs.length === 0) return 'No jobs.';
  const rows = jobs.map((job) => [
    job.id,
    job.conclusion === null ? job.state : `${job.state} (${job.conclusion})`,
    `${job.origin.owner}/${job.origin.repo}`,
    job.name,
    formatInstanceClass(job.class),
    job.vmId ?? NONE,
    `${formatDuration(nowMs - job.queuedAtMs)} ago`,
  ]);
  return formatTable(['JOB', 'STATE', 'REPOSITORY', 'NAME', 'CLASS', 'VM', 'QUEUED'], rows);
}

export function presentJob(detail: JobDetail, nowMs: number): string {
  const { job, vm, timeline } = detail;
  const facts: [string, string | null][] = [
    ['job', `${job.id}  ${job.workflowName} / ${job.name}`],
    ['repository', `${job.origin.owner}/${job.origin.repo}, run ${job.origin.runId}`],
    ['labels', job.labels.join(', ')],
    ['state', job.state],
    ['conclusion', job.conclusion],
    ['why', job.why],
    ['waits', presentWaiting(detail.waiting, nowMs)],
    ['vm', vm === null ? null : `${vm.id}, ${vm.phase}, ${formatInstanceClass(vm.class)}`],
    ['host', vm?.hostId ?? null],
    ['runner', job.runnerName],
    ['cost', detail.cost === null ? null : formatCost(detail.cost)],
  ];
  const known = facts.flatMap(([name, value]) => (value === null ? [] : [[name, value]]));
  const width = Math.max(...known.map(([name = '']) => name.length));
  const lines = known.map(([name = '', value = '']) => `${name.padEnd(width)}  ${value}`);
  return [...lines, ...presentTimeline(timeline), ...presentMoves(detail)].join('\n');
}

export function presentHosts(hosts: readonly HostView[], nowMs: number): string {
  if (hosts.length === 0) return 'No hosts. Get a token with: architect host token';
  const rows = hosts.map((host) => [
    host.id,
    host.state,
    host.facts?.accelerator ?? NONE,
    presentCapacity(host),
    String(host.vms.length),
    formatDuration(nowMs - host.stateSinceMs),
    presentRemark(host, nowMs),
  ]);
  return formatTable(['HOST', 'STATE', 'ACCELERATOR', 'CAPACITY', 'VMS', 'SINCE', 'REMARK'], rows);
}

export function presentGateways(gateways: readonly GatewayView[], nowMs: number): string {
  if (gateways.length === 0) return 'No gateways. Get a token with: architect host token --gateway';
  const rows = gateways.map((one) => [
    one.id,
    one.state,
    one.role ?? NONE,
    one.floating ?? NONE,
    String(one.vms),
    formatDuration(nowMs - one.stateSinceMs),
  ]);
  return formatTable(['GATEWAY', 'STATE', 'ROLE', 'SHARED ADDRESS', 'VMS', 'SINCE'], rows);
}

export function presentVms(vms: readonly VmView[], nowMs: number): string {
  if (vms.length === 0) return 'No VMs.';
  const rows = vms.map((vm) => [
    vm.id,
    vm.phase,
    vm.hostId,
    formatInstanceClass(vm.class),
    vm.runsJob ?? vm.forJob ?? NONE,
    formatDuration(nowMs - vm.createdAtMs),
    vm.why ?? '',
  ]);
  return formatTable(['VM', 'PHASE', 'HOST', 'CLASS', 'JOB', 'AGE', 'REMARK'], rows);
}

function presentWaiting(waiting: JobDetail['waiting'], nowMs: number): string | null {
  if (waiting === null) return null;
  const { cause, why, sinceMs } = waiting;
  return `${cause}, for ${formatDuration(nowMs - sinceMs)}: ${why}`;
}

function presentTimeline(timeline: JobDetail['timeline']): readonly string[] {
  const ordered = timeline.toSorted((one, other) => one.atMs - other.atMs);
  const first = ordered[0];
  if (first === undefined) return [];
  const rows = ordered.map(({ moment, atMs }) => [
    new Date(atMs).toISOString(),
    `+${formatDuration(atMs - first.atMs)}`,
    moment,
  ]);
  return ['', formatTable(['TIME', 'AFTER', 'MOMENT'], rows)];
}

function presentCapacity({ capacity }: HostView): string {
  if (capacity === null) return NONE;
  const memoryGib = Math.floor(capacity.memoryMib / 1024);
  return `${capacity.vcpus} vCPU, ${memoryGib} GiB, ${capacity.diskGib} GiB disk`;
}

function presentRemark({ why, notice, drained }: HostView, nowMs: number): string {
  if (why !== null) return why;
  const remarks = drained ? ['drained'] : [];
  if (notice !== null) remarks.push(presentNotice(notice, nowMs));
  return remarks.join(', ');
}

function presentNotice({ kind, deadlineMs }: HostNotice, nowMs: number): string {
  if (kind === 'rebalance') return 'its cloud may take it back soon';
  if (deadlineMs === null) return 'its cloud takes it back';
  return `goes away in ${formatDuration(deadlineMs - nowMs)}`;
}
