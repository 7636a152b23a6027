/**
 * While GitHub does not answer at all, calls would only wait for their time limits, and whoever makes
 * them would wait too: then one at a time finds out whether it is back, and the others fail at once.
 *
 *   answered ──SILENT_AFTER calls without an answer──→ silent ──one answer──→ answered
 *
 * Times are milliseconds of a clock that does not jump. Pure but for what it counts.
 */
const SILENT_AFTER = 3;
const PROBE_GAP_MS = 1_000;

export class Silence {
  #unanswered = 0;
  #probing = false;
  #nextProbeAtMs = 0;

  /** Whether a call may be sent; its end must be told. */
  admit(nowMs: number): boolean {
    if (this.#unanswered < SILENT_AFTER) return true;
    if (this.#probing || nowMs < this.#nextProbeAtMs) return false;
    this.#probing = true;
    return true;
  }

  /** A refusal is an answer. */
  note(wasAnswered: boolean, nowMs: number): void {
    this.#probing = false;
    this.#unanswered = wasAnswered ? 0 : this.#unanswered + 1;
    this.#nextProbeAtMs = nowMs + PROBE_GAP_MS;
  }
}
