/**
 * Something that makes offers better known, and that the fleet can do without: what was read last
 * stands, whatever its age, and what cannot be read is tried again after a rest.
 */
import type { Logger } from 'pino';

export interface Reading<T> {
  /** For the log: what could not be read. */
  readonly what: string;
  readonly read: () => Promise<T>;
  /** Until it has been read for the first time. */
  readonly before: T;
  readonly keptMs: number;
  readonly restMs: number;
  readonly now: () => number;
  readonly logger: Logger;
}

export class KeptReading<T> {
  readonly #reading: Reading<T>;
  #value: T;
  #nextAtMs = Number.NEGATIVE_INFINITY;

  constructor(reading: Reading<T>) {
    this.#reading = reading;
    this.#value = reading.before;
  }

  /** Never throws. The caller asks one at a time. */
  async get(): Promise<T> {
    const { what, read, keptMs, restMs, now, logger } = this.#reading;
    if (now() < this.#nextAtMs) return this.#value;
    try {
      this.#value = await read();
      this.#nextAtMs = now() + keptMs;
    } catch (error) {
      this.#nextAtMs = now() + restMs;
      logger.warn({ err: error, restMs }, `${what} could not be read; it is tried again`);
    }
    return this.#value;
  }
}
