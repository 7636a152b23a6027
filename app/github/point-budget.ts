/**
 * GitHub's points per minute of one App, or of one token: what was spent, and what may be spent on what
 * does not hurry. Nothing is sent that the minute has no room for.
 * Source: docs.github.com, "Rate limits for the REST API", "About secondary rate limits".
 */
import { GithubPacedError } from './errors.ts';
import { pointsOf, SpentPoints } from './spent-points.ts';

export const MAX_POINTS_PER_MINUTE = 900;
/** Of those: polling leaves the rest to what is minted. */
const POLL_UNTIL_POINTS = 600;
/** So many repositories are looked at in a minute, however much is minted. */
const POLLS_ALWAYS_PER_MINUTE = 60;
/** Of the App's log of deliveries, the same: pages read; deliveries sent again may take as much more. */
const LOG_READS_ALWAYS_PER_MINUTE = 10;
const LOG_POINTS_ALWAYS_PER_MINUTE = 20;
/** As long as what was polled before counts. */
const LEAVE_ROOM_MS = 60_000;

export interface AskedRequest {
  readonly url: string;
  readonly method: string;
}

export class PointBudget {
  readonly #now: () => number;
  readonly #spent = new SpentPoints();
  readonly #others = new SpentPoints();
  readonly #polls = new SpentPoints();
  readonly #logUse = new SpentPoints();
  #leavesRoomUntilMs = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Throws GithubPacedError where the minute has no room for the request. */
  requireRoom({ method }: AskedRequest): void {
    if (this.#spent.lastMinute(this.#now()) + pointsOf(method) > MAX_POINTS_PER_MINUTE)
      throw new GithubPacedError('The points of this minute are spent; nothing was sent.');
  }

  /** The request is sent now; what is returned is called at its end. */
  begin({ url, method }: AskedRequest): () => void {
    const points = pointsOf(method);
    if (!changesRunners(url, method)) this.#others.note(points, this.#now());
    const end = this.#spent.begin(points);
    return () => end(this.#now());
  }

  mayPoll(): boolean {
    const nowMs = this.#now();
    if (!this.#hasSpare(nowMs)) return this.#polls.take(1, POLLS_ALWAYS_PER_MINUTE, nowMs);
    this.#polls.note(1, nowMs);
    return true;
  }

  mayUseLog(use: 'read' | 'write'): boolean {
    const nowMs = this.#now();
    const points = pointsOf(use === 'read' ? 'GET' : 'POST');
    const always = use === 'read' ? LOG_READS_ALWAYS_PER_MINUTE : LOG_POINTS_ALWAYS_PER_MINUTE;
    if (!this.#hasSpare(nowMs)) return this.#logUse.take(points, always, nowMs);
    this.#logUse.note(points, nowMs);
    return true;
  }

  /** Points of the last minute, but for registering and removing runners. */
  otherPoints(): number {
    return this.#others.lastMinute(this.#now());
  }

  /** Runners wait to be registered: polling keeps to its least for a minute. */
  leaveRoom(): void {
    this.#leavesRoomUntilMs = this.#now() + LEAVE_ROOM_MS;
  }

  #hasSpare(nowMs: number): boolean {
    return nowMs >= this.#leavesRoomUntilMs && this.#spent.lastMinute(nowMs) < POLL_UNTIL_POINTS;
  }
}

/** Registering or removing one: these are counted when they are decided (runners.ts). */
function changesRunners(url: string, method: string): boolean {
  return method !== 'GET' && url.includes('/actions/runners/');
}
