/**
 * GitHub's secondary limit: 900 points a minute for an App, 1 for a read and 5 for a write, also
 * where the answer is a 304. Counted exactly, over any minute that ends now; time is an argument.
 * Source: docs.github.com, "Rate limits for the REST API", "About secondary rate limits".
 */
const READ_POINTS = 1;
const WRITE_POINTS = 5;
const WINDOW_MS = 60_000;

export class SpentPoints {
  /** Oldest first; `sum` is kept with them. */
  #spent: { readonly atMs: number; readonly points: number }[] = [];
  #sum = 0;
  #underway = 0;

  /** Points of the minute that ends at `nowMs`, and of requests without an answer yet. */
  lastMinute(nowMs: number): number {
    let old = 0;
    for (const { atMs, points } of this.#spent) {
      if (nowMs - atMs < WINDOW_MS) break;
      this.#sum -= points;
      old += 1;
    }
    if (old > 0) this.#spent = this.#spent.slice(old);
    return this.#sum + this.#underway;
  }

  note(points: number, nowMs: number): void {
    this.lastMinute(nowMs);
    this.#spent.push({ atMs: nowMs, points });
    this.#sum += points;
  }

  /**
   * For a request that is sent now. What is returned is called at its end: GitHub may have counted it
   * at any moment in between, so its minute begins then.
   */
  begin(points: number): (nowMs: number) => void {
    this.#underway += points;
    return (nowMs) => {
      this.#underway -= points;
      this.note(points, nowMs);
    };
  }

  /**
   * What was noted when it was decided is counted by GitHub only when it gets there: the oldest counts
   * as of now, so that none leaves the minute here before it does there.
   */
  renew(nowMs: number): void {
    const [oldest] = this.#spent;
    if (oldest === undefined) return;
    this.#spent = [...this.#spent.slice(1), { ...oldest, atMs: nowMs }];
  }

  /** Notes them if the minute stays within `limit`; false: not now. */
  take(points: number, limit: number, nowMs: number): boolean {
    if (this.lastMinute(nowMs) + points > limit) return false;
    this.note(points, nowMs);
    return true;
  }
}

export function pointsOf(method: string): number {
  return method === 'GET' || method === 'HEAD' ? READ_POINTS : WRITE_POINTS;
}
