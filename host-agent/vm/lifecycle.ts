/**
 * The life of one VM, as its driver sees it. `busy` is not here: only GitHub knows that.
 *
 *   allocating ─launched→ starting ─ready→ idle ─assign→ assigned ─┐
 *       │                    │              │                 │    │ stop, from any live phase
 *       └────────────────────┴── broke ─────┴─────────────────┘    ▼
 *                              │                               draining ─gone→ stopped
 *                              ▼
 *                            failed
 *
 * Invariants: `stopped` and `failed` are final; a job is assigned once and never replaced; the first
 * cause of an end wins; a VM that breaks while it drains has stopped, as was wanted.
 * This file decides and does nothing: the driver runs the effects in the order given.
 */
import type { JobId } from '../protocol/ids.ts';
import type { RunnerState } from '../protocol/vm-report.ts';

export type VmState =
  | { readonly phase: 'allocating' }
  | { readonly phase: 'starting' }
  | { readonly phase: 'idle' }
  | { readonly phase: 'assigned'; readonly jobId: JobId; readonly runner: RunnerState }
  | { readonly phase: 'draining'; readonly why: string; readonly jobId?: JobId | undefined }
  | { readonly phase: 'stopped'; readonly why: string; readonly jobId?: JobId | undefined }
  | { readonly phase: 'failed'; readonly why: string; readonly jobId?: JobId | undefined };

export type Phase = VmState['phase'];

export type VmEvent =
  | { readonly kind: 'launched' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'assign'; readonly jobId: JobId }
  | { readonly kind: 'runner'; readonly runner: RunnerState }
  | { readonly kind: 'stop'; readonly why: string }
  | { readonly kind: 'broke'; readonly why: string }
  | { readonly kind: 'gone' };

export type Effect = 'save-state' | 'hand-in-job' | 'watch-runner' | 'end-qemu';

export type Outcome =
  | { readonly kind: 'moved'; readonly state: VmState; readonly effects: readonly Effect[] }
  | { readonly kind: 'ignored' }
  | { readonly kind: 'refused'; readonly why: string };

export const TRANSITIONS = {
  allocating: ['starting', 'draining', 'failed'],
  starting: ['idle', 'draining', 'failed'],
  idle: ['assigned', 'draining', 'failed'],
  assigned: ['assigned', 'draining', 'failed'],
  draining: ['stopped'],
  stopped: [],
  failed: [],
} as const satisfies Record<Phase, readonly Phase[]>;

const IGNORED: Outcome = { kind: 'ignored' };

/** The whole policy: what an event means in a state. */
export function step(state: VmState, event: VmEvent): Outcome {
  switch (event.kind) {
    case 'launched':
      return state.phase === 'allocating' ? moved({ phase: 'starting' }, 'save-state') : IGNORED;
    case 'ready':
      return state.phase === 'starting' ? moved({ phase: 'idle' }, 'save-state') : IGNORED;
    case 'assign':
      return assign(state, event.jobId);
    case 'runner':
      return noteRunner(state, event.runner);
    case 'stop':
      return isLive(state)
        ? moved(
            { phase: 'draining', why: event.why, jobId: jobOf(state) },
            'save-state',
            'end-qemu',
          )
        : IGNORED;
    case 'broke':
      return breakDown(state, event.why);
    case 'gone':
      return state.phase === 'draining'
        ? moved({ ...state, phase: 'stopped' }, 'save-state')
        : IGNORED;
  }
}

export function isLive(state: VmState): boolean {
  return ['allocating', 'starting', 'idle', 'assigned'].includes(state.phase);
}

export function jobOf(state: VmState): JobId | undefined {
  return 'jobId' in state ? state.jobId : undefined;
}

function assign(state: VmState, jobId: JobId): Outcome {
  if (state.phase === 'idle') {
    const runner: RunnerState = { state: 'waiting' };
    return moved({ phase: 'assigned', jobId, runner }, 'save-state', 'hand-in-job', 'watch-runner');
  }
  if (state.phase !== 'assigned') return refusal(`the VM is ${state.phase}, not idle`);
  return state.jobId === jobId ? IGNORED : refusal(`the VM already has job ${state.jobId}`);
}

function noteRunner(state: VmState, runner: RunnerState): Outcome {
  if (state.phase !== 'assigned' || same(state.runner, runner)) return IGNORED;
  if (state.runner.state === 'exited') return IGNORED;
  return moved({ ...state, runner }, 'save-state');
}

function breakDown(state: VmState, why: string): Outcome {
  if (isLive(state)) {
    return moved({ phase: 'failed', why, jobId: jobOf(state) }, 'save-state', 'end-qemu');
  }
  return IGNORED;
}

function same(a: RunnerState, b: RunnerState): boolean {
  return a.state === b.state;
}

function moved(state: VmState, ...effects: Effect[]): Outcome {
  return { kind: 'moved', state, effects };
}

function refusal(why: string): Outcome {
  return { kind: 'refused', why };
}
