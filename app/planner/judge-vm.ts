/**
 * What is to be said of one VM by itself, before VMs are matched with waiting jobs. Pure.
 *
 *   gone       it ended, or is held for dead: `cause` says how
 *   doomed     it lives but must be stopped
 *   running    GitHub gave its runner a job that is not over: hands off
 *   settling   its runner ended a moment ago, GitHub's word on the job is still to come
 *   leaving    its stop was asked for and is under way
 *   waiting    it is on its way to a job: the matching decides
 *
 * A VM whose job GitHub holds for `in_progress` is never doomed.
 */
import type { HostId, JobId } from '../../host-agent/protocol/ids.ts';
import type { ObservedHost, ObservedJob, ObservedVm, PlannerConfig } from './observed.ts';

export type Verdict =
  | { readonly kind: 'gone'; readonly cause: string }
  | { readonly kind: 'doomed'; readonly why: string }
  | { readonly kind: 'running' | 'settling' | 'leaving' | 'waiting' };

export interface World {
  readonly jobs: ReadonlyMap<JobId, ObservedJob>;
  readonly hosts: ReadonlyMap<HostId, ObservedHost>;
  readonly config: PlannerConfig;
  readonly nowMs: number;
}

export function judgeVm(vm: ObservedVm, world: World): Verdict {
  const cause = causeOfDeath(vm, world);
  const exitKnown = vm.runnerExited && jobIsOpen(vm, world);
  if (exitKnown && world.nowMs - vm.phaseSinceMs < world.config.completionGraceMs)
    return { kind: 'settling' };
  if (cause !== undefined) return { kind: 'gone', cause };
  if (vm.unknown) return { kind: 'doomed', why: 'No record of this VM exists.' };
  if (vm.runnerExited) return { kind: 'doomed', why: 'Its runner has ended.' };
  if (vm.runsJob !== undefined) return judgeRunning(vm.runsJob, world);
  return judgeWaiting(vm, world);
}

/** Why the VM is held for dead; undefined while it lives or may still live. */
function causeOfDeath(vm: ObservedVm, world: World): string | undefined {
  if (vm.phase === 'stopped') return vm.why ?? 'Its VM was stopped.';
  if (vm.phase === 'failed') return vm.why ?? 'Its VM failed.';
  const host = world.hosts.get(vm.hostId);
  const { config, nowMs } = world;
  if (host === undefined) return `Its host ${vm.hostId} is no longer part of the fleet.`;
  if (host.state === 'away' || host.state === 'turned-away')
    return nowMs - host.stateSinceMs >= config.hostAwayTimeoutMs
      ? `Its host ${vm.hostId} has been away for too long.`
      : undefined;
  if (!vm.missing) return undefined;
  if (vm.phase !== 'allocating') return `Its host ${vm.hostId} no longer knows the VM.`;
  return nowMs - vm.phaseSinceMs >= config.startTimeoutMs
    ? `Its host ${vm.hostId} did not start the VM in time.`
    : undefined;
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

function judgeWaiting(vm: ObservedVm, { config, nowMs }: World): Verdict {
  const ageMs = nowMs - vm.phaseSinceMs;
  if (vm.phase === 'draining' && ageMs < config.startTimeoutMs) return { kind: 'leaving' };
  if (vm.phase === 'draining') return { kind: 'doomed', why: 'It did not stop in time.' };
  const starting = vm.phase === 'allocating' || vm.phase === 'starting';
  if (starting && ageMs >= config.startTimeoutMs)
    return { kind: 'doomed', why: 'It did not become ready in time.' };
  const assigned = vm.phase === 'assigned' || vm.phase === 'busy';
  if (assigned && ageMs >= config.assignTimeoutMs)
    return { kind: 'doomed', why: 'Its runner was given no job in time.' };
  return { kind: 'waiting' };
}
