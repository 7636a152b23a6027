/** One round of having failed webhook deliveries sent again: GitHub does not do so by itself. */
import type { Logger } from 'pino';
import type { DeliveryAttempt } from '../../github/delivery-log.ts';
import type { Listed } from '../../github/survey.ts';
import { WANTED_EVENTS } from '../delivery.ts';
import { planRedeliveries } from './plan-redeliveries.ts';

/** GitHub keeps its log for three days. */
const LOG_KEPT_MS = 72 * 3_600_000;
/** The pauses between all attempts at one delivery fit in. */
const LOOK_BACK_MS = 2 * 3_600_000;

export interface DeliveryLog {
  list(sinceMs: number): Promise<Listed<DeliveryAttempt>>;
  redeliver(id: number): Promise<void>;
  /** GitHub's limits leave room for one more now. */
  mayRedeliver(): boolean;
}

export interface RedeliveryPorts {
  readonly log: DeliveryLog;
  readonly now: () => number;
  readonly logger: Logger;
}

export class Redelivery {
  readonly #ports: RedeliveryPorts;
  /** The log was read to its end at this time; everything older has had its attempts. */
  #readAtMs: number | undefined;

  constructor(ports: RedeliveryPorts) {
    this.#ports = ports;
  }

  /** Rejects when the log cannot be read, or a delivery not be asked for. */
  async round(): Promise<void> {
    const { log, now, logger } = this.#ports;
    const nowMs = now();
    const sinceMs =
      this.#readAtMs === undefined ? nowMs - LOG_KEPT_MS : this.#readAtMs - LOOK_BACK_MS;
    const { items, complete } = await log.list(sinceMs);
    const due = planRedeliveries(items, WANTED_EVENTS, nowMs);
    let count = 0;
    for (const id of due) {
      if (!log.mayRedeliver()) break;
      await log.redeliver(id);
      count += 1;
    }
    if (count > 0) logger.info({ count }, 'failed deliveries are sent again');
    // As long as there is a backlog, all of it is looked at again.
    if (complete && due.length === 0) this.#readAtMs = nowMs;
  }
}
