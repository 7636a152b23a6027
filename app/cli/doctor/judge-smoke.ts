/**
 * How a smoke job goes, by GitHub's word and by the control plane's. Pure.
 *
 *   dispatched → seen → VM requested → VM started → runner online → running → done
 *        └─────────┴───────────┴────────────┴─────────────┴───────────┴──→ failed, because
 */
import type { JobDetail } from '../../api/views.ts';
import { type JobMoment, vmIdOfRunner } from '../../records/records.ts';

export interface SmokeSeen {
  readonly run: { readonly status: string; readonly conclusion: string | null };
  /** GitHub's word on its job; undefined: there is none yet. */
  readonly job: SmokeJob | undefined;
  /** The control plane's; undefined: it does not know it. */
  readonly detail: JobDetail | undefined;
  /** Since the run was found. */
  readonly ageMs: number;
}

export interface SmokeJob {
  readonly id: string;
  readonly status: string;
  readonly conclusion: string | null;
  readonly runnerName: string | null;
}

export type SmokeWord =
  | { readonly kind: 'waiting'; readonly text: string }
  | { readonly kind: 'green' }
  | { readonly kind: 'failed'; readonly why: string; readonly fix: string };

export interface SmokePhase {
  readonly phase: string;
  readonly atMs: number;
}

const LOOK = 'Run: architect doctor';
const PHASES: Partial<Record<JobMoment, string>> = {
  'webhook-received': 'seen by the control plane',
  'vm-requested': 'VM requested',
  'vm-started': 'VM started',
  'runner-online': 'runner online',
  'in-progress': 'running',
  completed: 'done',
};

export function judgeSmoke(seen: SmokeSeen, limitMs: number): SmokeWord {
  const over = judgeEnd(seen);
  if (over !== undefined) return over;
  if (seen.ageMs <= limitMs) return { kind: 'waiting', text: whereItIs(seen) };
  const job = seen.job === undefined ? '' : `; architect job ${seen.job.id} says more`;
  const why = `After ${Math.round(limitMs / 1_000)} s: ${whereItIs(seen)}`;
  return failed(why, `${LOOK}${job}. The run still waits: cancel it on its page.`);
}

function judgeEnd({ run, job, detail }: SmokeSeen): SmokeWord | undefined {
  if (detail?.job.state === 'refused')
    return failed(`It is refused: ${detail.job.why}`, 'Allow it under "policy" in architect.yaml.');
  if (detail?.job.state === 'lost')
    return failed(`It is lost: ${detail.job.why}`, `See architect job ${detail.job.id}.`);
  if (run.status === 'completed' && job === undefined)
    return failed('Its run ended without a job.', "See the run's page.");
  if (job?.status !== 'completed') return undefined;
  if (job.conclusion !== 'success')
    return failed(`It ended with ${job.conclusion}.`, "See its log on the run's page.");
  if (vmIdOfRunner(job.runnerName ?? '') === undefined)
    return failed(
      `The runner ${job.runnerName} ran it, which is not one of Architect's.`,
      'Keep labels that begin with "architect" away from other runners.',
    );
  return detail?.job.state === 'completed' ? { kind: 'green' } : undefined;
}

function failed(why: string, fix: string): SmokeWord {
  return { kind: 'failed', why, fix };
}

function whereItIs({ job, detail }: SmokeSeen): string {
  if (job === undefined) return 'GitHub has no job of the run yet.';
  if (job.status === 'completed')
    return 'GitHub says that it is done; the control plane has not heard of that.';
  if (detail === undefined)
    return 'GitHub has it queued; the control plane has not heard of it, neither by webhook nor by its poll.';
  if (detail.job.state === 'in-progress') return `It runs on ${detail.vm?.hostId ?? 'its host'}.`;
  if (detail.waiting !== null) return `It waits (${detail.waiting.cause}): ${detail.waiting.why}`;
  return 'The control plane has it and plans.';
}

/** In the order of time; `startedAtMs` is when it was asked for. */
export function phasesOf(startedAtMs: number, detail: JobDetail | undefined): SmokePhase[] {
  const reached = (detail?.timeline ?? []).flatMap(({ moment, atMs }) => {
    const phase = PHASES[moment];
    // GitHub tells whole seconds, which may be before the run was asked for.
    return phase === undefined ? [] : [{ phase, atMs: Math.max(atMs, startedAtMs) }];
  });
  return [{ phase: 'dispatched', atMs: startedAtMs }, ...reached].sort(
    (one, other) => one.atMs - other.atMs,
  );
}
