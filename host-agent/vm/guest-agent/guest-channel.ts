/**
 * Calls to the guest agent: one at a time, answered in order, without ids. After anything went wrong
 * (a time limit, a restarted guest) the line is out of step, so the next call first synchronises:
 * `guest-sync-delimited` with a fresh number, and whatever comes before its answer is dropped.
 */
import { randomInt } from 'node:crypto';
import type { z } from 'zod';
import { GuestAgentError } from '../vm-errors.ts';
import { type GuestLine, openGuestLine } from './guest-line.ts';

const MAX_WAITING = 20;
const MAX_ID = 2 ** 31;

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
  const line = await openGuestLine(path, signal);
  let inStep = false;
  let waiting = 0;
  let tail: Promise<unknown> = Promise.resolve();
  const perform = async <T>(call: GuestCall<T>): Promise<T> => {
    const deadlineMs = performance.now() + call.timeoutMs;
    if (!inStep) await synchronise(line, call.timeoutMs);
    inStep = false;
    const timeoutMs = Math.max(1, deadlineMs - performance.now());
    const value = await ask(line, { ...call, timeoutMs }, () => {
      inStep = true;
    });
    return check(call, value);
  };
  return {
    call: async (call) => {
      if (waiting >= MAX_WAITING) throw new GuestAgentError('Too many requests to the guest.');
      waiting += 1;
      const result = tail.then(() => perform(call));
      const done = () => {
        waiting -= 1;
      };
      tail = result.then(done, done);
      return result;
    },
    close: () => line.close(),
  };
}

async function synchronise(line: GuestLine, timeoutMs: number): Promise<void> {
  const id = randomInt(1, MAX_ID);
  const request = JSON.stringify({ execute: 'guest-sync-delimited', arguments: { id } });
  await line.exchange({
    // The leading 0xFF makes the guest's parser forget half a request.
    bytes: Buffer.concat([Buffer.from([0xff]), Buffer.from(`${request}\n`)]),
    accept: (reply) => reply.kind === 'answer' && reply.value === id,
    timeoutMs,
  });
}

async function ask<T>(
  line: GuestLine,
  { command, timeoutMs, ...rest }: GuestCall<T>,
  onAnswered: () => void,
): Promise<unknown> {
  const reply = await line.exchange({
    bytes: `${JSON.stringify({ execute: command, arguments: rest.arguments })}\n`,
    accept: () => true,
    timeoutMs,
  });
  onAnswered();
  if (reply.kind === 'answer') return reply.value;
  throw new GuestAgentError(`The guest refused ${command}: ${reply.text}`);
}

function check<T>({ command, answer }: GuestCall<T>, value: unknown): T {
  const parsed = answer.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new GuestAgentError(`The guest's answer to ${command} has an unexpected shape.`);
}
