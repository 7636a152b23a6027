/**
 * GitHub's limits: requests per hour for each installation, points per minute for the App or token, runner
 * registrations per five minutes. Each answer tells where the hourly limit stands.
 * Source: docs.github.com, "Rate limits for the REST API".
 */
import type { Durations, Limits } from './options.ts';
import { Refusal } from './refusal.ts';

const WRITE_POINTS = 5;

class Window {
  readonly #lengthMs: number;
  #startedAtMs = 0;
  used = 0;

  constructor(lengthMs: number) {
    this.#lengthMs = lengthMs;
  }

  get endsAtMs(): number {
    return this.#startedAtMs + this.#lengthMs;
  }

  add(points: number, now: number): void {
    if (now >= this.endsAtMs) {
      this.#startedAtMs = now;
      this.used = 0;
    }
    this.used += points;
  }
}

export interface Counted {
  readonly who: string;
  readonly payer: string;
  readonly write: boolean;
}

export class RateLimits {
  readonly #limits: Limits;
  readonly #hours = new Map<string, Window>();
  readonly #durations: Durations;
  readonly #minutes = new Map<string, Window>();
  readonly #registrations: Window;
  /** How often it had to refuse. */
  exceeded = 0;

  constructor(limits: Limits, durations: Durations) {
    this.#limits = limits;
    this.#durations = durations;
    this.#registrations = new Window(durations.registrationWindowMs);
  }

  /** The headers for this answer; `payer` is whose points it costs. Throws the 403 or 429 answer. */
  count({ who, payer, write }: Counted, now: number): Record<string, string> {
    const minute = this.#minutes.get(payer) ?? new Window(this.#durations.pointWindowMs);
    this.#minutes.set(payer, minute);
    const hour = this.#hours.get(who) ?? new Window(this.#durations.requestWindowMs);
    this.#hours.set(who, hour);
    hour.add(1, now);
    minute.add(write ? WRITE_POINTS : 1, now);
    const headers = this.#headers(hour);
    if (hour.used > this.#limits.requestsPerHour) {
      this.exceeded += 1;
      const message = `API rate limit exceeded for ${who}.`;
      throw new Refusal({ status: 403, message, headers });
    }
    if (minute.used > this.#limits.pointsPerMinute) {
      this.exceeded += 1;
      throw secondary(headers, minute.endsAtMs - now);
    }
    return headers;
  }

  /** A conditional request that found nothing new costs points, and no request. */
  refund(who: string): Record<string, string> {
    const hour = this.#hours.get(who);
    if (hour === undefined) return {};
    hour.used -= 1;
    return this.#headers(hour);
  }

  /** Throws the 403 answer. */
  countRegistration(now: number): void {
    this.#registrations.add(1, now);
    if (this.#registrations.used > this.#limits.registrationsPer5Minutes) {
      this.exceeded += 1;
      throw secondary({}, this.#registrations.endsAtMs - now);
    }
  }

  #headers(hour: Window): Record<string, string> {
    const { requestsPerHour } = this.#limits;
    return {
      'x-ratelimit-limit': String(requestsPerHour),
      'x-ratelimit-remaining': String(Math.max(0, requestsPerHour - hour.used)),
      'x-ratelimit-used': String(Math.min(hour.used, requestsPerHour)),
      'x-ratelimit-reset': String(Math.ceil(hour.endsAtMs / 1_000)),
      'x-ratelimit-resource': 'core',
    };
  }
}

function secondary(headers: Record<string, string>, waitMs: number): Refusal {
  return new Refusal({
    status: 403,
    message:
      'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.',
    page: '/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits',
    headers: { ...headers, 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1_000))) },
  });
}
