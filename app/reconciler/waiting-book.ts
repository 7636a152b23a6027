/**
 * Since when each queued job has waited for what it waits for now. Kept in memory by the process that
 * reconciles: it can be found anew at any time, only "since when" then begins again.
 */
import type { JobId } from '../../host-agent/protocol/ids.ts';
import { explainWaiting, type WaitingCause } from '../planner/explain-waiting.ts';
import type { Observed, PlannerConfig } from '../planner/observed.ts';

/** Ticks may come many a second; the causes are looked at once. */
const LOOK_INTERVAL_MS = 1_000;

export interface Waiting extends WaitingCause {
  readonly sinceMs: number;
}

export class WaitingBook {
  readonly #config: Pick<PlannerConfig, 'maxVms'>;
  readonly #paced = new Set<JobId>();
  #waiting: ReadonlyMap<JobId, Waiting> = new Map();
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(config: Pick<PlannerConfig, 'maxVms'>) {
    this.#config = config;
  }

  /** Undefined: it does not wait, or this process has not looked at it. */
  causeOf(jobId: JobId): Waiting | undefined {
    return this.#waiting.get(jobId);
  }

  /** Its runner may not be registered now. Forgotten at the next look. */
  notePaced(jobId: JobId): void {
    this.#paced.add(jobId);
  }

  look(observed: Observed, nowMs: number): void {
    if (nowMs - this.#lookedAtMs < LOOK_INTERVAL_MS) return;
    this.#lookedAtMs = nowMs;
    const causes = explainWaiting({ observed, config: this.#config, paced: this.#paced });
    this.#paced.clear();
    const queuedAtMs = new Map(observed.jobs.map((job) => [job.id, job.queuedAtMs]));
    const next = new Map<JobId, Waiting>();
    for (const [id, cause] of causes) {
      const before = this.#waiting.get(id);
      const fresh = before === undefined ? (queuedAtMs.get(id) ?? nowMs) : nowMs;
      const sinceMs = before?.cause === cause.cause ? before.sinceMs : fresh;
      next.set(id, { ...cause, sinceMs });
    }
    this.#waiting = next;
  }

  /** Another process reconciles: what was known grows old. */
  clear(): void {
    this.#waiting = new Map();
  }
}
