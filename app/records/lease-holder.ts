/**
 * Who holds a lease, as the lease's value says it: a process and where it runs. One that runs in the
 * same place can tell that the holder has ended, and need not wait for the lease to run out. Whoever
 * is elsewhere, or is not sure, cannot and waits.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { z } from 'zod';
import { hasEnded, ProcessRef, readProcess } from '../process-ref.ts';

const LeaseHolder = z.object({
  /** A process may make several leases: no two are the same. */
  id: z.string(),
  /** Where the process can be looked for by its pid. */
  place: z.string(),
  process: ProcessRef,
});
type LeaseHolder = Readonly<z.infer<typeof LeaseHolder>>;

/** The token of a lease of this process. */
export function ownToken(id: string): string {
  const self = readProcess(process.pid);
  if (self === undefined) return id;
  return JSON.stringify({ id, place: ownPlace(), process: self } satisfies LeaseHolder);
}

/** True only when the holder was a process of this very place and is no more. */
export function isOfTheDead(token: string): boolean {
  const holder = parseToken(token);
  return holder !== undefined && holder.place === ownPlace() && hasEnded(holder.process);
}

function parseToken(token: string): LeaseHolder | undefined {
  try {
    return LeaseHolder.safeParse(JSON.parse(token)).data;
  } catch {
    // Somebody's who does not say who it is.
    return undefined;
  }
}

/**
 * The machine since it was booted, and whose pids and start times these are. The machine's name keeps
 * apart two that were made of one snapshot. Sources: random(4), pid_namespaces(7), time_namespaces(7).
 */
function ownPlace(): string {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return [hostname(), bootId, namespaceOf('pid'), namespaceOf('time')].join(' ');
}

function namespaceOf(kind: 'pid' | 'time'): string {
  try {
    return readlinkSync(`/proc/self/ns/${kind}`);
  } catch {
    // Linux before 5.6 has one time for all.
    return `${kind}:`;
  }
}
