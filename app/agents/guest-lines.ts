/** Jobs' questions on their way from their hosts to the desk: so many of one host at a time. */
import type { Logger } from 'pino';
import {
  askAgain,
  type GuestAnswer,
  MAX_ASKS_PER_HOST,
} from '../../host-agent/protocol/guest-api.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import type { GuestDesk, GuestQuestion } from '../guests/ports.ts';

export interface GuestLineParts {
  /** Unset: jobs are told to ask again. */
  readonly guests?: GuestDesk | undefined;
  readonly logger: Logger;
}

export class GuestLines {
  readonly #parts: GuestLineParts;
  readonly #underWay = new Map<HostId, number>();

  constructor(parts: GuestLineParts) {
    this.#parts = parts;
  }

  /** Never rejects. */
  async answer(question: GuestQuestion): Promise<GuestAnswer> {
    const { guests, logger } = this.#parts;
    const { hostId, vmId } = question;
    const others = this.#underWay.get(hostId) ?? 0;
    if (guests === undefined || others >= MAX_ASKS_PER_HOST)
      return askAgain('The control plane has too much to answer.');
    this.#underWay.set(hostId, others + 1);
    try {
      return await guests.answer(question);
    } catch (err) {
      logger.warn({ hostId, vmId, err }, 'a job’s question is not answered');
      return askAgain('The control plane cannot read its records now.');
    } finally {
      this.#leave(hostId);
    }
  }

  #leave(hostId: HostId): void {
    const left = (this.#underWay.get(hostId) ?? 1) - 1;
    if (left === 0) this.#underWay.delete(hostId);
    else this.#underWay.set(hostId, left);
  }
}
