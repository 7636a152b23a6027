/** What the host-agent asks of a guest, through the QEMU guest agent: run a program, read a file. */
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { GuestAgentError } from '../vm-errors.ts';
import { openGuestChannel } from './guest-channel.ts';
import {
  type ExecResult,
  ExecStarted,
  ExecStatus,
  FileRead,
  readExecStatus,
} from './guest-message.ts';

const CALL_TIMEOUT_MS = 5_000;
const FIRST_POLL_MS = 5;
const MAX_POLL_MS = 100;
const POLL_GROWTH = 1.5;
/** The guest agent reads at most this much in one answer. */
const MAX_READ_BYTES = 64 * 1024;

export interface GuestExec {
  readonly path: string;
  readonly args?: readonly string[];
  readonly stdin?: string;
  readonly timeoutMs: number;
}

export interface GuestAgent {
  ping(timeoutMs: number): Promise<void>;
  /** Rejects with GuestAgentError when the program does not end in time; it is then still running. */
  exec(exec: GuestExec): Promise<ExecResult>;
  /** The file's first bytes as text, at most 64 KiB; undefined when it cannot be opened. */
  readFile(path: string, timeoutMs?: number): Promise<string | undefined>;
  close(): void;
}

/** Connects to the port's socket; the guest need not run yet. The signal limits the connecting. */
export async function connectGuestAgent(path: string, signal: AbortSignal): Promise<GuestAgent> {
  const channel = await openGuestChannel(path, signal);
  const ask = <T>(command: string, args: Record<string, unknown>, answer: z.ZodType<T>) =>
    channel.call({ command, arguments: args, answer, timeoutMs: CALL_TIMEOUT_MS });

  const exec = async ({ path: program, args = [], stdin = '', timeoutMs }: GuestExec) => {
    const deadlineMs = performance.now() + timeoutMs;
    const { pid } = await ask(
      'guest-exec',
      {
        path: program,
        arg: args,
        'input-data': Buffer.from(stdin).toString('base64'),
        'capture-output': true,
      },
      ExecStarted,
    );
    let pauseMs = FIRST_POLL_MS;
    while (performance.now() < deadlineMs) {
      const result = readExecStatus(await ask('guest-exec-status', { pid }, ExecStatus));
      if (result !== undefined) return result;
      await delay(pauseMs);
      pauseMs = Math.min(MAX_POLL_MS, pauseMs * POLL_GROWTH);
    }
    throw new GuestAgentError(`${program} did not end in ${timeoutMs} ms.`);
  };

  const readFile = async (file: string, timeoutMs = CALL_TIMEOUT_MS) => {
    const call = <T>(command: string, args: Record<string, unknown>, answer: z.ZodType<T>) =>
      channel.call({ command, arguments: args, answer, timeoutMs });
    const handle = await call('guest-file-open', { path: file, mode: 'r' }, z.int()).catch(
      () => undefined,
    );
    if (handle === undefined) return undefined;
    try {
      const read = await call('guest-file-read', { handle, count: MAX_READ_BYTES }, FileRead);
      return Buffer.from(read['buf-b64'], 'base64').toString('utf8');
    } finally {
      await call('guest-file-close', { handle }, z.unknown());
    }
  };

  return {
    ping: async (timeoutMs) => {
      await channel.call({ command: 'guest-ping', answer: z.unknown(), timeoutMs });
    },
    exec,
    readFile,
    close: () => channel.close(),
  };
}
