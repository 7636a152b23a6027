/**
 * Processes as /proc shows them. A pid alone names nobody, since pids are reused; with the start
 * time it does, for as long as the machine is up.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';

export const ProcessRef = z.object({
  pid: z.int().min(1),
  /** Field 22 of /proc/<pid>/stat, clock ticks since boot. */
  startTime: z.string(),
});
export type ProcessRef = Readonly<z.infer<typeof ProcessRef>>;

const POLL_MS = 20;
const DEATH_LIMIT_MS = 10_000;

/** Undefined when there is no such process, or only its zombie. */
export function readProcess(pid: number): ProcessRef | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const startTime = fields[18];
    if (state === 'Z' || state === 'X' || startTime === undefined) return undefined;
    return { pid, startTime };
  } catch {
    return undefined;
  }
}

export function isRunning(ref: ProcessRef): boolean {
  return readProcess(ref.pid)?.startTime === ref.startTime;
}

export function belongsToFleet(pid: number, fleet: string): boolean {
  return readEnvironment(pid).includes(`ARCHITECT_FLEET=${fleet}`);
}

/** Every process of the fleet, but this one and those that it was started by. */
export function listFleetProcesses(fleet: string): readonly ProcessRef[] {
  const mine = ancestorsOf(process.pid);
  return listProcesses().filter(({ pid }) => !mine.has(pid) && belongsToFleet(pid, fleet));
}

/** Every process in one of these network namespaces, given as inode numbers. */
export function listProcessesIn(netnsInodes: ReadonlySet<number>): readonly ProcessRef[] {
  return listProcesses().filter(({ pid }) => netnsInodes.has(readNetns(pid)));
}

export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '?';
  }
}

/** SIGKILL to each that still is what it was, then waits for their end; answers those that live. */
export async function endProcesses(refs: readonly ProcessRef[]): Promise<readonly ProcessRef[]> {
  for (const ref of refs) if (isRunning(ref)) kill(ref.pid);
  const deadline = performance.now() + DEATH_LIMIT_MS;
  while (refs.some(isRunning) && performance.now() < deadline) await sleep(POLL_MS);
  return refs.filter(isRunning);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself in between.
  }
}

function listProcesses(): readonly ProcessRef[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcess(Number(name)) ?? []);
}

function readEnvironment(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

function readNetns(pid: number): number {
  try {
    return Number(/\d+/.exec(readlinkSync(`/proc/${pid}/ns/net`))?.[0] ?? 0);
  } catch {
    return 0;
  }
}

function ancestorsOf(pid: number): ReadonlySet<number> {
  const found = new Set<number>();
  for (let at = pid; at > 1 && !found.has(at); at = readParent(at)) found.add(at);
  return found;
}

function readParent(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0;
  }
}
