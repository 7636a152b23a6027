/**
 * The planner: from what is, the steps towards what should be. Pure and synchronous: no clock, no
 * randomness, no I/O, no logger; the time and fresh VM ids are arguments.
 *
 *   each VM is judged by itself (judge-vm.ts)
 *     gone    → its in-progress job is lost, then the VM is forgotten
 *     doomed  → stopped, where its host can be asked
 *     waiting → matched with the queued jobs (match-jobs.ts): idle ones are assigned, spare ones stopped
 *   VMs whose hosts go away → moved, parked, resumed, rewound (plan-moves.ts)
 *   each queued job that nothing serves → a new VM on the best fitting host (place.ts)
 *
 * Invariants, each a property in plan.test.ts:
 *   jobs are served in fair order (fair-order.ts), and never more of them than their caps allow
 *   never more live VMs than `maxVms`, nor more starts than `maxStartsPerTick` and `maxVmsPerJob`
 *   no VM is stopped while the job that GitHub gave it is in progress
 *   a job that was in progress is never given another VM
 *   a host that is not connected gets no step but bookkeeping (forget-vm)
 *   the order of the input does not matter; carrying the steps out leaves nothing to plan
 */
import type { HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { isOpenMove } from '../records/migration-record.ts';
import { admitJobs } from './admit-jobs.ts';
import { oldestFirst } from './fair-order.ts';
import { type Judged, judgeVm, type World } from './judge-vm.ts';
import { type Match, matchJobs } from './match-jobs.ts';
import type { Observed, ObservedJob, ObservedVm, PlannerConfig } from './observed.ts';
import { type Arrival, openPlacement } from './place.ts';
import { planMoves } from './plan-moves.ts';
import type { Step } from './step.ts';

export interface PlanInput {
  readonly observed: Observed;
  readonly config: PlannerConfig;
  readonly nowMs: number;
  /** Fresh ids, drawn one per new VM; when they run out, the other starts wait for the next tick. */
  readonly newVmIds: Iterable<VmId>;
  /** As `newVmIds`, for attempts to move VMs. */
  readonly newMigrationIds: Iterable<MigrationId>;
}

/** Steps in the order in which they matter: losses, moves, ends, assignments, starts. */
export function plan({ observed, config, nowMs, newVmIds, newMigrationIds }: PlanInput): Step[] {
  const world: World = {
    jobs: new Map(observed.jobs.map((job) => [job.id, job])),
    hosts: new Map(observed.hosts.map((host) => [host.id, host])),
    moves: new Map(observed.migrations.filter(isOpenMove).map((move) => [move.vmId, move])),
    config,
    nowMs,
  };
  const judged = observed.vms.map((vm) => ({ vm, verdict: judgeVm(vm, world) }));
  const { admitted } = admitJobs(observed);
  const settling = settlingJobs(judged);
  const unsettled = admitted.filter((job) => !settling.has(job.id));
  const waiting = judged.filter(({ verdict }) => verdict.kind === 'waiting').map(({ vm }) => vm);
  const match = matchJobs({ queued: unsettled, waiting, jobs: world.jobs });
  const unserved = unsettled.filter((job) => !match.servedBy.has(job.id));
  const live = judged.filter(({ verdict }) => verdict.kind !== 'gone').length;
  const spare = new Set(match.spare);
  const staying = judged.filter(({ vm }) => !spare.has(vm));
  const moves = planMoves({ observed, judged: staying, world, newMigrationIds });
  const { arrivals } = moves;
  return [
    ...planLosses(judged, world),
    ...planGivenUp(unserved, config),
    ...moves.steps,
    ...planForgets(judged, world),
    ...planLeftCopies(observed, world),
    ...planStops(judged, match.spare, world),
    ...planAssignments(served(unsettled, match, world)),
    ...planRestarts(served(unsettled, match, world)),
    ...planStarts({ unserved, observed, config, newVmIds, live, arrivals }),
  ];
}

function planLosses(judged: readonly Judged[], world: World): Step[] {
  const byVm = new Map(judged.map((one) => [one.vm.id, one]));
  const lost: { readonly job: ObservedJob; readonly cause: string }[] = [];
  for (const job of world.jobs.values()) {
    const cause = job.state === 'in-progress' ? causeOfLoss(job, byVm, world) : undefined;
    if (cause !== undefined) lost.push({ job, cause });
  }
  return lost
    .sort((a, b) => oldestFirst(a.job, b.job))
    .map(({ job, cause }) => ({ kind: 'lose-job', jobId: job.id, cause }));
}

/** Every VM of it ended before it ran: starting more would only repeat that. */
function planGivenUp(unserved: readonly ObservedJob[], config: PlannerConfig): Step[] {
  return unserved
    .filter((job) => job.vmsStarted >= config.maxVmsPerJob)
    .map((job) => ({
      kind: 'lose-job',
      jobId: job.id,
      cause: `${job.vmsStarted} VMs were started for it and none of them could run it.`,
    }));
}

function causeOfLoss(
  job: ObservedJob,
  byVm: ReadonlyMap<VmId, Judged>,
  { config, nowMs }: World,
): string | undefined {
  if (job.vmId === undefined) return undefined;
  const found = byVm.get(job.vmId);
  if (found === undefined) {
    const late = nowMs - (job.startedAtMs ?? nowMs) < config.completionGraceMs;
    return late ? undefined : `Its VM ${job.vmId} no longer exists.`;
  }
  if (found.verdict.kind === 'gone') return found.verdict.cause;
  const runnerEnded = found.vm.runnerExited && found.verdict.kind === 'doomed';
  return runnerEnded ? 'Its runner ended, but GitHub did not say that the job did.' : undefined;
}

/** A dead VM's record stays until the job it ran is accounted for. */
function planForgets(judged: readonly Judged[], world: World): Step[] {
  return judged
    .filter(({ vm, verdict }) => verdict.kind === 'gone' && !runsOpenJob(vm, world))
    .map(({ vm }) => vm)
    .sort(byId)
    .map(({ id, hostId, runnerId }) => ({ kind: 'forget-vm', vmId: id, hostId, runnerId }));
}

/** Of VMs that have left: only who can be asked and is not about to take one back. */
function planLeftCopies({ leftCopies }: Observed, world: World): Step[] {
  return leftCopies
    .filter(({ vmId, hostId }) => !world.moves.has(vmId) && canAsk(hostId, world))
    .map(({ vmId, hostId }) => ({ kind: 'forget-copy' as const, vmId, hostId }))
    .sort((a, b) => (a.vmId < b.vmId || (a.vmId === b.vmId && a.hostId < b.hostId) ? -1 : 1));
}

function planStops(judged: readonly Judged[], spare: readonly ObservedVm[], world: World): Step[] {
  const doomed = judged.flatMap(({ vm, verdict }) =>
    verdict.kind === 'doomed' && !runsOpenJob(vm, world) ? [{ vm, why: verdict.why }] : [],
  );
  const idle = spare.map((vm) => ({ vm, why: 'No job is waiting for it.' }));
  return [...doomed, ...idle]
    .filter(({ vm }) => isReachable(vm, world))
    .sort((a, b) => byId(a.vm, b.vm))
    .map(({ vm, why }) => ({ kind: 'stop-vm', vmId: vm.id, hostId: vm.hostId, why }));
}

function planAssignments(pairs: readonly Served[]): Step[] {
  return pairs
    .filter(({ vm }) => vm.phase === 'idle')
    .map(({ job, vm }) => ({
      kind: 'assign-job',
      vmId: vm.id,
      hostId: vm.hostId,
      jobId: job.id,
      installationId: job.share.installationId,
      owner: job.share.owner,
    }));
}

/** A recorded VM that its host has not heard of: the request was lost, so it is made again. */
function planRestarts(pairs: readonly Served[]): Step[] {
  return pairs
    .filter(({ vm }) => vm.missing && vm.phase === 'allocating')
    .map(({ job, vm }) => ({
      kind: 'start-vm',
      vmId: vm.id,
      hostId: vm.hostId,
      jobId: job.id,
      class: vm.class,
    }));
}

function planStarts({
  unserved,
  observed,
  config,
  newVmIds,
  live,
  arrivals,
}: {
  readonly unserved: readonly ObservedJob[];
  readonly observed: Observed;
  readonly config: PlannerConfig;
  readonly newVmIds: Iterable<VmId>;
  readonly live: number;
  readonly arrivals: readonly Arrival[];
}): Step[] {
  const startable = unserved.filter((job) => job.vmsStarted < config.maxVmsPerJob);
  const limit = Math.max(0, Math.min(config.maxStartsPerTick, config.maxVms - live));
  if (startable.length === 0 || limit === 0) return [];
  const placement = openPlacement(observed, arrivals);
  const ids = newVmIds[Symbol.iterator]();
  const steps: Step[] = [];
  const full = new Set<string>();
  for (const job of startable) {
    if (steps.length >= limit) break;
    const shape = JSON.stringify(job.class);
    const hostId = full.has(shape) ? undefined : placement.take(job.class);
    if (hostId === undefined) {
      full.add(shape);
      continue;
    }
    const vmId = ids.next();
    if (vmId.done === true) break;
    steps.push({ kind: 'start-vm', vmId: vmId.value, hostId, jobId: job.id, class: job.class });
  }
  return steps;
}

interface Served {
  readonly job: ObservedJob;
  readonly vm: ObservedVm;
}

/** In the order of service, where the VM's host can be asked. */
function served(queued: readonly ObservedJob[], { servedBy }: Match, world: World): Served[] {
  return queued.flatMap((job) => {
    const vm = servedBy.get(job.id);
    return vm !== undefined && isReachable(vm, world) ? [{ job, vm }] : [];
  });
}

function byId(a: ObservedVm, b: ObservedVm): number {
  return a.id < b.id ? -1 : 1;
}

function isReachable(vm: ObservedVm, world: World): boolean {
  return canAsk(vm.hostId, world);
}

function canAsk(hostId: HostId, { hosts }: World): boolean {
  const state = hosts.get(hostId)?.state;
  return state === 'connected' || state === 'draining';
}

function runsOpenJob(vm: ObservedVm, { jobs }: World): boolean {
  if (vm.runsJob === undefined) return false;
  return jobs.get(vm.runsJob)?.state === 'in-progress';
}

/** Jobs that wait for a VM on its way, or for GitHub's word: their VM's runner ended just now. */
function settlingJobs(judged: readonly Judged[]): ReadonlySet<string> {
  return new Set(
    judged.flatMap(({ vm, verdict }) =>
      (verdict.kind === 'settling' || verdict.kind === 'moving') && vm.forJob !== undefined
        ? [vm.forJob]
        : [],
    ),
  );
}
