/**
 * A process as the kernel tells it apart: a pid alone names nobody, since pids are reused; with the
 * start time it does, for as long as the machine is up.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';

export const ProcessRef = z.object({
  pid: z.int().min(1),
  /** Field 22 of /proc/<pid>/stat, clock ticks since boot. */
  startTime: z.string(),
});
export type ProcessRef = Readonly<z.infer<typeof ProcessRef>>;

/** Among the fields after the command's name. Source: proc_pid_stat(5). */
const STATE = 0;
const PARENT = 1;
const START_TIME = 19;

export interface ProcessStat {
  readonly parent: number;
  readonly startTime: string;
}

/** Undefined for a line that is none, or for a zombie: that process has ended. */
export function parseStat(stat: string): ProcessStat | undefined {
  // The name in parentheses may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const startTime = fields[START_TIME];
  if (fields[STATE] === 'Z' || fields[STATE] === 'X' || startTime === undefined) return undefined;
  return { parent: Number(fields[PARENT]), startTime };
}

/** Undefined when there is no such process, or only its zombie. */
export function readStat(pid: number): ProcessStat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return undefined;
  }
}

/** As `readStat`. */
export function readProcess(pid: number): ProcessRef | undefined {
  const startTime = readStat(pid)?.startTime;
  return startTime === undefined ? undefined : { pid, startTime };
}

export function isRunning(ref: ProcessRef): boolean {
  return readStat(ref.pid)?.startTime === ref.startTime;
}

/**
 * False unless it is sure: one that cannot be read of, as where others' processes are hidden
 * (hidepid, proc(5)), has ended only when no signal could reach it either.
 */
export function hasEnded(ref: ProcessRef): boolean {
  try {
    return parseStat(readFileSync(`/proc/${ref.pid}/stat`, 'utf8'))?.startTime !== ref.startTime;
  } catch {
    return !exists(ref.pid);
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}

/** To the process that this is, and to none that has its pid by now. */
export function signalProcess(ref: ProcessRef, signal: NodeJS.Signals): void {
  if (!isRunning(ref)) return;
  try {
    process.kill(ref.pid, signal);
  } catch {
    // It ended by itself in between.
  }
}
