/**
 * What is to be said of one VM by itself, before VMs are matched with waiting jobs. Pure.
 *
 *   gone       it ended, or is held for dead: `cause` says how
 *   rewindable its host died, and its job goes on from its last checkpoint
 *   moving     it is on its way to another host, or waits in the chunk store: hands off
 *   doomed     it lives but must be stopped
 *   running    GitHub gave its runner a job that is not over, be it one that we cannot see: hands off
 *   settling   its runner ended a moment ago, GitHub's word on the job is still to come
 *   leaving    its stop was asked for and is under way
 *   waiting    it is on its way to a job: the matching decides
 *
 * A VM whose job GitHub holds for `in_progress` is never doomed.
 */
import type { HostId, JobId, VmId } from '../../host-agent/protocol/ids.ts';
import { isLeaving } from './leaving.ts';
import type {
  ObservedHost,
  ObservedJob,
  ObservedMigration,
  ObservedVm,
  PlannerConfig,
} from './observed.ts';

export type Verdict =
  | { readonly kind: 'gone' | 'rewindable'; readonly cause: string }
  | { readonly kind: 'doomed'; readonly why: string }
  | { readonly kind: 'running' | 'settling' | 'leaving' | 'waiting' | 'moving' };

export interface Judged {
  readonly vm: ObservedVm;
  readonly verdict: Verdict;
}

export interface World {
  readonly jobs: ReadonlyMap<JobId, ObservedJob>;
  readonly hosts: ReadonlyMap<HostId, ObservedHost>;
  /** The one under way of each VM that has one. */
  readonly moves: ReadonlyMap<VmId, ObservedMigration>;
  readonly config: PlannerConfig;
  readonly nowMs: number;
}

export function judgeVm(vm: ObservedVm, world: World): Verdict {
  if (world.moves.has(vm.id)) return { kind: 'moving' };
  const cause = causeOfDeath(vm, world);
  const exitKnown = vm.runnerExited && jobIsOpen(vm, world);
  if (exitKnown && world.nowMs - vm.phaseSinceMs < world.config.completionGraceMs)
    return { kind: 'settling' };
  if (cause !== undefined) return { kind: canRewind(vm, world) ? 'rewindable' : 'gone', cause };
  if (vm.unknown) return { kind: 'doomed', why: 'No record of this VM exists.' };
  if (vm.runnerExited) return { kind: 'doomed', why: 'Its runner has ended.' };
  if (vm.runsJob !== undefined) return judgeRunning(vm.runsJob, world);
  // Until its runner ends: nobody will say when that job does.
  if (vm.runnerWord === 'taken' && vm.phase !== 'draining') return { kind: 'running' };
  return judgeWaiting(vm, world);
}

/** Why the VM is held for dead; undefined while it lives or may still live. */
function causeOfDeath(vm: ObservedVm, world: World): string | undefined {
  if (vm.phase === 'stopped') return vm.why ?? 'Its VM was stopped.';
  if (vm.phase === 'failed') return vm.why ?? 'Its VM failed.';
  const host = world.hosts.get(vm.hostId);
  const { config, nowMs } = world;
  if (host === undefined) return `Its host ${vm.hostId} is no longer part of the fleet.`;
  if (host.state === 'away' || host.state === 'turned-away') return causeOfAbsence(vm, host, world);
  if (!vm.missing) return undefined;
  if (vm.phase !== 'allocating') return `Its host ${vm.hostId} no longer knows the VM.`;
  return nowMs - vm.phaseSinceMs >= config.startTimeoutMs
    ? `Its host ${vm.hostId} did not start the VM in time.`
    : undefined;
}

/** A host that vanished takes along what its VMs did since their last checkpoints. */
function causeOfAbsence(vm: ObservedVm, host: ObservedHost, world: World): string | undefined {
  const { config, nowMs } = world;
  const isOver = nowMs - host.stateSinceMs >= config.hostAwayTimeoutMs;
  const mayRewind = vm.rewindable && leaseIsOver(vm, host, world);
  if (!host.gone && !isOver && !mayRewind) return undefined;
  const what = host.gone ? 'is gone, without having been emptied' : 'has been away for too long';
  return `Its host ${vm.hostId} ${what}.${checkpointAge(vm, host)}`;
}

function checkpointAge({ lastCheckpointAtMs }: ObservedVm, { stateSinceMs }: ObservedHost): string {
  if (lastCheckpointAtMs === undefined) return ' It had no checkpoint.';
  const ageS = Math.max(0, Math.round((stateSinceMs - lastCheckpointAtMs) / 1000));
  return ` Its last checkpoint was ${ageS} s old.`;
}

/**
 * Only a job that asked for it, from a checkpoint that exists, and only once the old copy surely
 * does not run any more: by the provider's word, or because its run lease has expired.
 */
function canRewind(vm: ObservedVm, world: World): boolean {
  const job = vm.runsJob === undefined ? undefined : world.jobs.get(vm.runsJob);
  if (job?.state !== 'in-progress' || !job.rewindable || !vm.rewindable) return false;
  // What ended by itself would only end so again.
  if (vm.phase === 'stopped' || vm.phase === 'failed') return false;
  if (vm.lastCheckpointAtMs === undefined || !vm.keyed) return false;
  const host = world.hosts.get(vm.hostId);
  if (host?.state === 'connected' || host?.state === 'draining') return false;
  return host?.gone === true || leaseIsOver(vm, host, world);
}

/** After a while of ours its agent has not come back either: it would be let go on where it stands. */
function leaseIsOver(
  { leaseOverAtMs }: ObservedVm,
  host: ObservedHost | undefined,
  { nowMs, config }: World,
): boolean {
  if (leaseOverAtMs === undefined || nowMs < leaseOverAtMs) return false;
  return host === undefined || nowMs - host.stateSinceMs >= config.comebackLimitMs;
}

function jobIsOpen(vm: ObservedVm, world: World): boolean {
  const jobId = vm.runsJob ?? vm.forJob;
  const state = jobId === undefined ? undefined : world.jobs.get(jobId)?.state;
  return state === 'queued' || state === 'in-progress';
}

/** A lost job whose VM came back is GitHub's to end: its runner is still at work. */
function judgeRunning(jobId: JobId, world: World): Verdict {
  const state = world.jobs.get(jobId)?.state;
  if (state === undefined || state === 'completed' || state === 'refused')
    return { kind: 'doomed', why: 'Its job is over.' };
  return { kind: 'running' };
}

function judgeWaiting(vm: ObservedVm, { config, hosts, nowMs }: World): Verdict {
  const ageMs = nowMs - vm.phaseSinceMs;
  if (vm.phase === 'draining' && ageMs < config.startTimeoutMs) return { kind: 'leaving' };
  if (vm.phase === 'draining') return { kind: 'doomed', why: 'It did not stop in time.' };
  const starting = vm.phase === 'allocating' || vm.phase === 'starting';
  if (starting && ageMs >= config.startTimeoutMs)
    return { kind: 'doomed', why: 'It did not become ready in time.' };
  const assigned = vm.phase === 'assigned' || vm.phase === 'busy';
  // Nothing is lost with a VM that has no runner yet: its job gets one elsewhere.
  if (!assigned && isLeaving(hosts.get(vm.hostId)))
    return { kind: 'doomed', why: 'Its host goes away, and it has no job yet.' };
  if (assigned && vm.runnerWord === 'gone')
    return { kind: 'doomed', why: 'GitHub has forgotten its runner: none of its jobs came.' };
  if (assigned && ageMs >= config.assignTimeoutMs)
    return { kind: 'doomed', why: 'Its runner was given no job in time.' };
  return { kind: 'waiting' };
}
