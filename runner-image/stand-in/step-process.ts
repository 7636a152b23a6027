/**
 * One bash script in a process group of its own. A cancelled step gets SIGINT, then SIGTERM, then
 * SIGKILL, with the official runner's pauses (ProcessInvoker.cs).
 */
import { spawn } from 'node:child_process';

const INTERRUPT_GRACE_MS = 7_500;
const TERMINATE_GRACE_MS = 2_500;
const CANNOT_RUN = 127;

export interface Script {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly output: (data: Buffer) => void;
  readonly signal: AbortSignal;
}

/** The exit code; 128 when a signal ended it, 127 when it could not start. Never rejects. */
export function runScript({ command, args, cwd, env, output, signal }: Script): Promise<number> {
  const child = spawn(command, args, {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.on('data', output);
  child.stderr.on('data', output);
  const stopKilling = child.pid === undefined ? () => {} : killOnAbort(child.pid, signal);
  return new Promise((resolve) => {
    child.once('error', (error) => {
      output(Buffer.from(`##[error]${error.message}\n`));
      resolve(CANNOT_RUN);
    });
    child.once('close', (code) => {
      stopKilling();
      resolve(code ?? 128);
    });
  });
}

function killOnAbort(pid: number, signal: AbortSignal): () => void {
  const timers: NodeJS.Timeout[] = [];
  const cancel = () => {
    killGroup(pid, 'SIGINT');
    timers.push(setTimeout(killGroup, INTERRUPT_GRACE_MS, pid, 'SIGTERM'));
    timers.push(setTimeout(killGroup, INTERRUPT_GRACE_MS + TERMINATE_GRACE_MS, pid, 'SIGKILL'));
  };
  if (signal.aborted) cancel();
  else signal.addEventListener('abort', cancel, { once: true });
  return () => {
    signal.removeEventListener('abort', cancel);
    for (const timer of timers) clearTimeout(timer);
    if (signal.aborted) killGroup(pid, 'SIGKILL');
  };
}

function killGroup(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(-pid, name);
  } catch {
    // The group is gone already.
  }
}
