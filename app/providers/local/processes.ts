/** Processes as /proc shows them: which are a fleet's, or in a network namespace, and their end. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  isRunning,
  type ProcessRef,
  readProcess,
  readStat,
  signalProcess,
} from '../../process-ref.ts';

const POLL_MS = 20;
const DEATH_LIMIT_MS = 10_000;

export function belongsToFleet(pid: number, fleet: string): boolean {
  return readEnvironment(pid).includes(markOf(fleet));
}

/** Every process of the fleet, but this one and those that it was started by. */
export function listFleetProcesses(fleet: string): readonly ProcessRef[] {
  return listProcessesCarrying(markOf(fleet));
}

/** Every process with this `NAME=value` in its environment, but this one and those that it was started by. */
export function listProcessesCarrying(mark: string): readonly ProcessRef[] {
  const mine = ancestorsOf(process.pid);
  return listProcesses().filter(({ pid }) => !mine.has(pid) && readEnvironment(pid).includes(mark));
}

function markOf(fleet: string): string {
  return `ARCHITECT_FLEET=${fleet}`;
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
  for (const ref of refs) signalProcess(ref, 'SIGKILL');
  const deadline = performance.now() + DEATH_LIMIT_MS;
  while (refs.some(isRunning) && performance.now() < deadline) await sleep(POLL_MS);
  return refs.filter(isRunning);
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
  for (let at = pid; at > 1 && !found.has(at); at = readStat(at)?.parent ?? 0) found.add(at);
  return found;
}
