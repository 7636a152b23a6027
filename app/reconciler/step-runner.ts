/**
 * Runs a plan's steps beside each other and beside later ticks, so that one slow host holds up
 * nobody else. Bounds and memory:
 *
 *   one step at a time per VM, and one start per job   a plan made meanwhile says the same again
 *   registrations at GitHub's pace         what has to wait holds up nothing else, and is planned again
 *   MAX_STEPS_IN_FLIGHT in all                         the rest is planned again at the next tick
 *   a failed step's key pauses for PAUSE_MS            a nudge must not turn a fault into a storm
 *   a done step is not repeated for DONE_PAUSE_MS      its effect shows in a report a moment later
 *   a move is not aborted so soon after it was begun   that its source has it shows in a report, too
 */
import type { Logger } from 'pino';
import type { Step } from '../planner/step.ts';
import type { SlowPart } from './executor.ts';

export const MAX_STEPS_IN_FLIGHT = 256;
const PAUSE_MS = 3_000;
export const DONE_PAUSE_MS = 1_000;
/** A configuration that may have been handed in must show in a report before another is minted. */
const ASSIGN_PAUSE_MS = 12_000;

export interface StepRunnerOptions {
  /** Asked of a step that could begin now; false: it is planned again. Unset: every one may. */
  readonly admit?: (step: Step) => boolean;
  readonly prepare: (step: Step) => Promise<SlowPart>;
  readonly onDone: () => void;
  readonly now: () => number;
  readonly logger: Logger;
}

export class StepRunner {
  readonly #options: StepRunnerOptions;
  readonly #inFlight = new Map<string, Promise<void>>();
  readonly #pausedUntilMs = new Map<string, number>();

  constructor(options: StepRunnerOptions) {
    this.#options = options;
  }

  /** Resolves when each step's records are written; the slow parts go on. Never rejects. */
  async run(steps: readonly Step[]): Promise<void> {
    const nowMs = this.#options.now();
    for (const [key, untilMs] of this.#pausedUntilMs)
      if (untilMs <= nowMs) this.#pausedUntilMs.delete(key);
    await Promise.all(steps.map((step) => this.#begin(step)));
  }

  /** Resolves when nothing is in flight. */
  async drained(): Promise<void> {
    await Promise.all(this.#inFlight.values());
  }

  async #begin(step: Step): Promise<void> {
    const key = keyOf(step);
    if (this.#inFlight.has(key) || this.#isPaused(step)) return;
    if (this.#inFlight.size >= MAX_STEPS_IN_FLIGHT) return;
    if (this.#options.admit?.(step) === false) return;
    const prepared = this.#options.prepare(step);
    this.#inFlight.set(key, this.#finish(step, key, prepared));
    await prepared.catch(() => undefined);
  }

  #isPaused(step: Step): boolean {
    const keys = [keyOf(step), doneKeyOf(step)];
    if (step.kind === 'abort-migration') keys.push(attemptKey('move-vm', step));
    return keys.some((key) => this.#pausedUntilMs.has(key));
  }

  async #finish(step: Step, key: string, prepared: Promise<SlowPart>): Promise<void> {
    try {
      const slowPart = await prepared;
      await slowPart?.();
      this.#pausedUntilMs.set(doneKeyOf(step), this.#options.now() + DONE_PAUSE_MS);
    } catch (error) {
      const pauseMs = step.kind === 'assign-job' ? ASSIGN_PAUSE_MS : PAUSE_MS;
      this.#pausedUntilMs.set(key, this.#options.now() + pauseMs);
      this.#options.logger.error({ err: error, ...idsOf(step) }, `${step.kind} failed`);
    } finally {
      this.#inFlight.delete(key);
      this.#options.onDone();
    }
  }
}

function keyOf(step: Step): string {
  if (step.kind === 'start-vm') return `start ${step.jobId}`;
  if (step.kind === 'forget-copy') return `copy ${step.vmId} ${step.hostId}`;
  if (step.kind === 'end-wish') return `wish ${step.migrationId}`;
  return step.kind === 'lose-job' ? `job ${step.jobId}` : `vm ${step.vmId}`;
}

/** A new VM for the same job is another step, and so is a new attempt to move the same VM. */
function doneKeyOf(step: Step): string {
  if (step.kind === 'lose-job') return `${step.kind} ${step.jobId}`;
  return 'migrationId' in step ? attemptKey(step.kind, step) : `${step.kind} ${step.vmId}`;
}

function attemptKey(
  kind: Step['kind'],
  { vmId, migrationId }: { readonly vmId: string; readonly migrationId: string },
): string {
  return `${kind} ${vmId} ${migrationId}`;
}

const LOGGED_IDS = ['vmId', 'hostId', 'jobId', 'migrationId', 'from', 'to'] as const;

function idsOf(step: Step): Record<string, string> {
  const ids = Object.entries(step).filter(([name]) => LOGGED_IDS.some((id) => id === name));
  return Object.fromEntries(ids.map(([name, id]) => [name, String(id)]));
}
