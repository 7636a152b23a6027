/**
 * Commands on their way. Every call is settled exactly once: by its answer, by its time limit, or by
 * the end of the connection.
 */
import { QmpCommandError, QmpDisconnectedError, QmpTimeoutError } from '../vm-errors.ts';
import type { QmpMessage } from './qmp-message.ts';

const MAX_PENDING = 100;

interface Pending {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export interface PendingCalls {
  /** Registers the call, then sends it under a new id. */
  start(command: string, timeoutMs: number, send: (id: number) => void): Promise<unknown>;
  settle(message: Extract<QmpMessage, { kind: 'answer' | 'failure' }>): void;
  /** Fails every pending call, and each later one, with QmpDisconnectedError. */
  end(why: string): void;
}

export function createPendingCalls(): PendingCalls {
  const pending = new Map<number, Pending>();
  let nextId = 1;
  let ended: string | undefined;
  const take = (id: number | undefined) => {
    const call = id === undefined ? undefined : pending.get(id);
    if (id === undefined || call === undefined) return undefined;
    pending.delete(id);
    clearTimeout(call.timer);
    return call;
  };
  return {
    start: (command, timeoutMs, send) =>
      new Promise((resolve, reject) => {
        if (ended !== undefined) return reject(disconnected(command, ended));
        if (pending.size >= MAX_PENDING) return reject(new RangeError('too many QMP calls'));
        const id = nextId++;
        const late = () =>
          new QmpTimeoutError(`QEMU did not answer ${command} in ${timeoutMs} ms.`);
        const timer = setTimeout(() => take(id)?.reject(late()), timeoutMs);
        pending.set(id, { command, resolve, reject, timer });
        send(id);
      }),
    settle: (message) => {
      const call = take(message.id);
      if (call === undefined) return;
      if (message.kind === 'answer') call.resolve(message.value);
      else call.reject(refusedBy(call.command, message));
    },
    end: (why) => {
      ended ??= why;
      for (const [id, { command }] of [...pending]) take(id)?.reject(disconnected(command, why));
    },
  };
}

function refusedBy(command: string, failure: Extract<QmpMessage, { kind: 'failure' }>): Error {
  const context = { errorClass: failure.errorClass, command };
  return new QmpCommandError(`QEMU refused ${command}: ${failure.text}`, { context });
}

function disconnected(command: string, why: string): QmpDisconnectedError {
  return new QmpDisconnectedError(`The connection to QEMU ended during ${command}: ${why}.`);
}
