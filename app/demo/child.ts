/** A program of a simulated fleet: its own process group, its output in a file, ended by its pid. */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';

const READY_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 20_000;
const POLL_MS = 50;
const TAIL_CHARACTERS = 2_000;

export class ChildError extends ArchitectError {
  readonly code = 'CHILD';
  readonly retry = 'never';
}

export interface ChildOptions {
  readonly name: string;
  /** Arguments for the Node that runs us, the script first. Never a secret. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly logPath: string;
  /** Path of the network namespace that it runs in; unset: ours. */
  readonly netns?: string;
}

export interface Child {
  readonly name: string;
  readonly pid: number;
  readonly logPath: string;
  readonly exited: Promise<void>;
  kill(signal: NodeJS.Signals): void;
  /** Asks it to end, then insists. */
  stop(): Promise<void>;
}

/** Throws ChildError when it cannot be started. */
export function startChild({ name, args, environment, logPath, netns }: ChildOptions): Child {
  const log = openSync(logPath, 'a', 0o600);
  // Not execa: the output must go to the file without passing through this process.
  const inside = netns === undefined ? [] : ['nsenter', `--net=${netns}`];
  const [program = '', ...rest] = [...inside, process.execPath, ...args];
  const running = spawn(program, rest, {
    env: { PATH: process.env.PATH ?? '', ...environment },
    stdio: ['ignore', log, log],
    detached: true,
  });
  closeSync(log);
  const { pid } = running;
  if (pid === undefined) throw new ChildError(`${name} could not be started; see ${logPath}.`);
  const exited = new Promise<void>((resolve) => running.once('exit', () => resolve()));
  const kill = (signal: NodeJS.Signals) => void running.kill(signal);
  return {
    name,
    pid,
    logPath,
    exited,
    kill,
    stop: async () => {
      kill('SIGTERM');
      const limit = new AbortController();
      const late = delay(STOP_LIMIT_MS, 'late', { signal: limit.signal }).catch(() => 'ended');
      if ((await Promise.race([exited, late])) === 'late') kill('SIGKILL');
      limit.abort();
      await exited;
    },
  };
}

/**
 * Waits until `look` gives something. Throws ChildError with the end of its log when the child
 * ends first or READY_LIMIT_MS have passed.
 */
export async function untilReady<T>(
  child: Child,
  look: () => Promise<T | undefined>,
  signal: AbortSignal,
): Promise<T> {
  const deadlineMs = performance.now() + READY_LIMIT_MS;
  let ended = false;
  void child.exited.then(() => {
    ended = true;
  });
  while (!ended && performance.now() < deadlineMs) {
    signal.throwIfAborted();
    const found = await look();
    if (found !== undefined) return found;
    await delay(POLL_MS, undefined, { signal });
  }
  const tail = (await readFile(child.logPath, 'utf8').catch(() => '')).slice(-TAIL_CHARACTERS);
  throw new ChildError(
    `${child.name} ${ended ? 'ended' : 'did not get ready'}. Its log ends:\n${tail}`,
  );
}
