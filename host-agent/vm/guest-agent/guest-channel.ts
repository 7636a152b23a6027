/**
 * The line to the guest agent: one request at a time, answered in order, no ids. After anything went
 * wrong (a time limit, a restarted guest) the line is out of step, so the next request first
 * synchronises: `guest-sync-delimited` with a fresh number, and whatever comes before its answer is
 * dropped.
 */
import { randomInt } from 'node:crypto';
import type { z } from 'zod';
import { connectWhenListening, type LineSocket, openLines } from '../line-socket.ts';
import { GuestAgentError } from '../vm-errors.ts';
import { type GuestReply, MAX_ANSWER_BYTES, parseGuestReply } from './guest-message.ts';

const MAX_WAITING = 20;
/** A hostile guest may send any number of short lines: past this many unexpected ones, hang up. */
const MAX_STRAY_LINES = 10_000;

export interface GuestCall<T> {
  readonly command: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly answer: z.ZodType<T>;
  readonly timeoutMs: number;
}

export interface GuestChannel {
  /** Rejects with GuestAgentError: refused, late, of a wrong shape, or disconnected. */
  call<T>(call: GuestCall<T>): Promise<T>;
  close(): void;
}

/** Connects to QEMU's end of the port; the guest need not run yet. The signal is the time limit. */
export async function openGuestChannel(path: string, signal: AbortSignal): Promise<GuestChannel> {
  const socket = await connectWhenListening(path, signal);
  let onReply: ((reply: GuestReply) => void) | undefined;
  let onEnd: ((error: GuestAgentError) => void) | undefined;
  let ended: GuestAgentError | undefined;
  let strayLines = 0;
  const lines: LineSocket = openLines(socket, {
    maxLineBytes: MAX_ANSWER_BYTES,
    handlers: {
      onLine: (line) => {
        const reply = parseGuestReply(line);
        if (reply !== undefined && onReply !== undefined) return void onReply(reply);
        strayLines += 1;
        if (strayLines > MAX_STRAY_LINES) lines.close('the guest sends without being asked');
      },
      onClose: (why) => {
        ended = new GuestAgentError(`The guest agent's port is closed: ${why}.`);
        onEnd?.(ended);
      },
    },
  });

  let inStep = false;
  let waiting = 0;
  let tail: Promise<unknown> = Promise.resolve();

  const exchange = (
    text: string,
    { accept, timeoutMs }: { accept: (reply: GuestReply) => boolean; timeoutMs: number },
  ) =>
    new Promise<GuestReply>((resolve, reject) => {
      if (ended !== undefined) return reject(ended);
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        onReply = undefined;
        onEnd = undefined;
        settle();
      };
      const late = () => new GuestAgentError(`The guest did not answer in ${timeoutMs} ms.`);
      const timer = setTimeout(() => finish(() => reject(late())), timeoutMs);
      onEnd = (error) => finish(() => reject(error));
      onReply = (reply) => {
        if (accept(reply)) finish(() => resolve(reply));
      };
      lines.send(text);
    });

  const synchronise = async (timeoutMs: number) => {
    const id = randomInt(1, 2 ** 31);
    const request = { execute: 'guest-sync-delimited', arguments: { id } };
    // The leading 0xFF makes the guest's parser forget half a request.
    lines.send(Buffer.from([0xff]));
    await exchange(`${JSON.stringify(request)}\n`, {
      accept: (reply) => reply.kind === 'answer' && reply.value === id,
      timeoutMs,
    });
    inStep = true;
  };

  const perform = async <T>({ command, answer, timeoutMs, ...rest }: GuestCall<T>) => {
    const deadlineMs = performance.now() + timeoutMs;
    if (!inStep) await synchronise(timeoutMs);
    inStep = false;
    const request = { execute: command, arguments: rest.arguments };
    const left = Math.max(1, deadlineMs - performance.now());
    const reply = await exchange(`${JSON.stringify(request)}\n`, {
      accept: () => true,
      timeoutMs: left,
    });
    inStep = true;
    if (reply.kind === 'failure') {
      throw new GuestAgentError(`The guest refused ${command}: ${reply.text}`);
    }
    const parsed = answer.safeParse(reply.value);
    if (!parsed.success) {
      throw new GuestAgentError(`The guest's answer to ${command} has an unexpected shape.`);
    }
    return parsed.data;
  };

  return {
    call: async (call) => {
      if (waiting >= MAX_WAITING) throw new GuestAgentError('Too many requests to the guest.');
      waiting += 1;
      const result = tail.then(() => perform(call));
      tail = result.catch(() => undefined).finally(() => (waiting -= 1));
      return result;
    },
    close: () => lines.close(),
  };
}
