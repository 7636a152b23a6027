/** What the processes of a fleet take of the machine while something goes on: QEMUs, and the agents. */
import { setTimeout as delay } from 'node:timers/promises';
import { processesOf, readIfThere } from './bench-fleet.ts';

/** A process that ends is known as it was at the last look. */
const LOOK_MS = 200;
/** USER_HZ of proc(5), on every Linux that Node runs on. */
const MS_PER_TICK = 10;

export interface CpuUse {
  /** With the guests. */
  readonly qemuMs: number;
  readonly agentMs: number;
}

export async function measureCpu<T>(
  fleet: string,
  task: () => Promise<T>,
): Promise<{ readonly result: T; readonly cpu: CpuUse }> {
  const before = look(fleet);
  const last = new Map(before);
  const end = new AbortController();
  const watching = watch(fleet, { last, signal: end.signal });
  try {
    const result = await task();
    for (const [pid, seen] of look(fleet)) last.set(pid, seen);
    return { result, cpu: { qemuMs: sum(last, before, true), agentMs: sum(last, before, false) } };
  } finally {
    end.abort();
    await watching;
  }
}

interface Seen {
  readonly isQemu: boolean;
  readonly ms: number;
}

async function watch(
  fleet: string,
  { last, signal }: { readonly last: Map<number, Seen>; readonly signal: AbortSignal },
): Promise<void> {
  while (!signal.aborted) {
    for (const [pid, seen] of look(fleet)) last.set(pid, seen);
    await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** proc_pid_stat(5): the name is in brackets and may hold some; utime and stime are fields 14 and 15. */
function look(fleet: string): ReadonlyMap<number, Seen> {
  const seen = new Map<number, Seen>();
  for (const pid of processesOf(fleet)) {
    const stat = readIfThere(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    const isQemu = stat.includes('(qemu');
    if (Number.isFinite(ticks)) seen.set(pid, { isQemu, ms: ticks * MS_PER_TICK });
  }
  return seen;
}

function sum(
  after: ReadonlyMap<number, Seen>,
  before: ReadonlyMap<number, Seen>,
  isQemu: boolean,
): number {
  const of = [...after].filter(([, seen]) => seen.isQemu === isQemu);
  return of.reduce((total, [pid, { ms }]) => total + ms - (before.get(pid)?.ms ?? 0), 0);
}
