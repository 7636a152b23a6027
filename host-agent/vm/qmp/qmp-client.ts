/**
 * One QMP connection (QEMU docs/interop/qmp-spec.rst): commands with ids, time limits, typed errors.
 *
 *   connectQmp → greeting → qmp_capabilities → call … call → close
 *
 * When the connection ends, for whatever cause, every pending call fails with QmpDisconnectedError;
 * the first cause wins and is what `closed` settles with.
 */
import { z } from 'zod';
import { connectWhenListening, type LineSocket, openLines } from '../line-socket.ts';
import { QmpDisconnectedError, QmpProtocolError } from '../vm-errors.ts';
import { createEventSource } from './event-source.ts';
import { createPendingCalls } from './pending-calls.ts';
import { parseQmpMessage, type QmpEvent } from './qmp-message.ts';

/** query-* answers of a large machine are some 100 kB. */
const MAX_LINE_BYTES = 4 * 1024 * 1024;
const CALL_TIMEOUT_MS = 10_000;

export interface QmpCall<T> {
  readonly command: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly answer: z.ZodType<T>;
  readonly timeoutMs?: number;
}

export interface QmpClient {
  readonly qemuVersion: string;
  /** Rejects with QmpCommandError, QmpTimeoutError, QmpProtocolError or QmpDisconnectedError. */
  call<T>(call: QmpCall<T>): Promise<T>;
  /** A command whose answer says nothing but that it is done. */
  run(command: string, args?: Readonly<Record<string, unknown>>): Promise<void>;
  onEvent(listener: (event: QmpEvent) => void): () => void;
  /** Settles, with the reason, when the connection has ended. */
  readonly closed: Promise<string>;
  close(): void;
}

/** Connects as soon as QEMU listens. The signal is the time limit; rejects with its reason. */
export async function connectQmp(path: string, signal: AbortSignal): Promise<QmpClient> {
  const connection = openConnection(await connectWhenListening(path, signal));
  const { calls, lines } = connection;
  const abort = () => lines.close();
  signal.addEventListener('abort', abort, { once: true });
  const call = async <T>({ command, answer, timeoutMs, ...rest }: QmpCall<T>) => {
    const send = (id: number) =>
      lines.send(`${JSON.stringify({ execute: command, arguments: rest.arguments, id })}\n`);
    return check(command, answer, await calls.start(command, timeoutMs ?? CALL_TIMEOUT_MS, send));
  };
  const run = async (command: string, args: Readonly<Record<string, unknown>> = {}) => {
    await call({ command, arguments: args, answer: z.unknown() });
  };
  try {
    const qemuVersion = await connection.greeted;
    await run('qmp_capabilities');
    const { onEvent, closed } = connection;
    return { qemuVersion, call, run, onEvent, closed, close: abort };
  } catch (error) {
    lines.close();
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function openConnection(socket: Parameters<typeof openLines>[0]) {
  const events = createEventSource();
  const calls = createPendingCalls();
  const greeted = Promise.withResolvers<string>();
  const closed = Promise.withResolvers<string>();
  // Nobody awaits the greeting any more once it came; its rejection must not be unhandled.
  greeted.promise.catch(() => undefined);
  const take = (line: Buffer) => {
    const message = parseQmpMessage(line);
    if (message.kind === 'event') events.emit(message.event);
    else if (message.kind === 'greeting') greeted.resolve(message.qemuVersion);
    else calls.settle(message);
  };
  const lines: LineSocket = openLines(socket, {
    maxLineBytes: MAX_LINE_BYTES,
    handlers: {
      onLine: (line) => {
        try {
          take(line);
        } catch (error) {
          lines.close(error instanceof Error ? error.message : 'protocol error');
        }
      },
      onClose: (why) => {
        calls.end(why);
        greeted.reject(new QmpDisconnectedError(`QMP ended before its greeting: ${why}.`));
        closed.resolve(why);
      },
    },
  });
  return { calls, lines, greeted: greeted.promise, closed: closed.promise, onEvent: events.on };
}

function check<T>(command: string, answer: z.ZodType<T>, value: unknown): T {
  const parsed = answer.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new QmpProtocolError(`QEMU's answer to ${command} has an unexpected shape.`, {
    cause: parsed.error,
  });
}
