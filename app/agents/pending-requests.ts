/** Requests to one host that wait for their result: bounded, timed, and never left hanging. */
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import type { AgentOutcome } from '../../host-agent/protocol/messages.ts';

export const MAX_OUTSTANDING_REQUESTS = 64;

export class HostAwayError extends ArchitectError {
  readonly code = 'HOST_AWAY';
  readonly retry = 'later';
}

export class HostTimeoutError extends ArchitectError {
  readonly code = 'HOST_TIMEOUT';
  readonly retry = 'later';
}

export class HostOverloadedError extends ArchitectError {
  readonly code = 'HOST_OVERLOADED';
  readonly retry = 'later';
}

interface Waiting {
  readonly resolve: (outcome: AgentOutcome) => void;
  readonly reject: (error: Error) => void;
}

export class PendingRequests {
  readonly #waiting = new Map<string, Waiting>();
  readonly #hostId: HostId;

  constructor(hostId: HostId) {
    this.#hostId = hostId;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Sends, then waits for the result; rejects on time-out, abort, disconnect or overload. */
  async run(request: {
    readonly requestId: string;
    readonly timeoutMs: number;
    readonly signal: AbortSignal | undefined;
    readonly send: () => void;
  }): Promise<AgentOutcome> {
    request.signal?.throwIfAborted();
    if (this.#waiting.size >= MAX_OUTSTANDING_REQUESTS) throw this.#overloaded();
    const answer = Promise.withResolvers<AgentOutcome>();
    this.#waiting.set(request.requestId, answer);
    const abort = (): void => answer.reject(abortReason(request.signal));
    request.signal?.addEventListener('abort', abort, { once: true });
    const timer = setTimeout(() => answer.reject(this.#late(request.timeoutMs)), request.timeoutMs);
    try {
      request.send();
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      request.signal?.removeEventListener('abort', abort);
      this.#waiting.delete(request.requestId);
    }
  }

  /** A result that nobody waits for any more is dropped: reports tell what became of it. */
  settle(requestId: string, outcome: AgentOutcome): void {
    this.#waiting.get(requestId)?.resolve(outcome);
  }

  rejectAll(why: string): void {
    for (const { reject } of this.#waiting.values()) reject(hostAway(this.#hostId, why));
    this.#waiting.clear();
  }

  #late(timeoutMs: number): HostTimeoutError {
    return new HostTimeoutError(
      `Host ${this.#hostId} did not answer within ${timeoutMs} ms. The next tick asks again.`,
      { context: { hostId: this.#hostId, timeoutMs } },
    );
  }

  #overloaded(): HostOverloadedError {
    return new HostOverloadedError(
      `Host ${this.#hostId} has ${MAX_OUTSTANDING_REQUESTS} unanswered requests. The next tick asks again.`,
      { context: { hostId: this.#hostId } },
    );
  }
}

export function hostAway(hostId: HostId, why: string): HostAwayError {
  return new HostAwayError(`Host ${hostId} is not connected: ${why}.`, { context: { hostId } });
}

function abortReason(signal: AbortSignal | undefined): Error {
  return signal?.reason instanceof Error
    ? signal.reason
    : new DOMException('Aborted', 'AbortError');
}
