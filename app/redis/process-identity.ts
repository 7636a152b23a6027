/** A process as the kernel tells it apart: its pid and the tick it started at, since pids return. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';

export const ProcessIdentity = z.object({ pid: z.int().min(2), startTicks: z.int().min(0) });
export type ProcessIdentity = Readonly<z.infer<typeof ProcessIdentity>>;

/** Fields of /proc/PID/stat after the command's name: state is the first, start time the 20th. */
const START_TICKS_INDEX = 19;

/** Undefined for a line that is none, or for a zombie: that process has ended. */
export function parseStat(stat: string): number | undefined {
  const fields = stat
    .slice(stat.lastIndexOf(')') + 1)
    .trim()
    .split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
  const ticks = Number(fields[START_TICKS_INDEX]);
  return Number.isSafeInteger(ticks) ? ticks : undefined;
}

/** Undefined when no such process lives. Source: proc_pid_stat(5). */
export async function readIdentity(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  const startTicks = stat === undefined ? undefined : parseStat(stat);
  return startTicks === undefined ? undefined : { pid, startTicks };
}

export async function isAlive(process: ProcessIdentity): Promise<boolean> {
  return (await readIdentity(process.pid))?.startTicks === process.startTicks;
}
