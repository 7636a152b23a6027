/** Guests' questions that wait for the control plane's answer. Bounded in number and in time. */
import { randomUUID } from 'node:crypto';
import {
  ASK_LIMIT_MS,
  askAgain,
  type GuestAnswer,
  type GuestAsk,
  MAX_ASKS_PER_HOST,
} from '../protocol/guest-api.ts';
import type { VmId } from '../protocol/ids.ts';
import type { GuestAnswerFrame, GuestAskFrame } from '../protocol/messages.ts';

export class PendingAsks {
  readonly #send: (frame: GuestAskFrame) => void;
  readonly #limitMs: number;
  readonly #waiting = new Map<string, (answer: GuestAnswer) => void>();

  constructor(send: (frame: GuestAskFrame) => void, limitMs = ASK_LIMIT_MS) {
    this.#send = send;
    this.#limitMs = limitMs;
  }

  /** Never rejects: what is not answered is to be asked again. */
  async ask(vmId: VmId, ask: GuestAsk): Promise<GuestAnswer> {
    if (this.#waiting.size >= MAX_ASKS_PER_HOST)
      return askAgain('Too many jobs on this host ask at once.');
    const askId = randomUUID();
    const { promise, resolve } = Promise.withResolvers<GuestAnswer>();
    const late = setTimeout(
      () => resolve(askAgain('The control plane did not answer in time.')),
      this.#limitMs,
    );
    this.#waiting.set(askId, resolve);
    try {
      this.#send({ type: 'guest-ask', askId, vmId, ask });
      return await promise;
    } finally {
      clearTimeout(late);
      this.#waiting.delete(askId);
    }
  }

  /** An answer to nothing that waits is let go. */
  settle({ askId, answer }: GuestAnswerFrame): void {
    this.#waiting.get(askId)?.(answer);
  }

  /** Nothing that waits will be answered any more. */
  giveUp(why: string): void {
    for (const resolve of this.#waiting.values()) resolve(askAgain(why));
  }
}
