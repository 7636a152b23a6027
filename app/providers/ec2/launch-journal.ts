/**
 * When a host was last asked for, on disk before EC2 hears of it. A process that crashed in a launch has
 * perhaps bought a host that EC2's lists do not show yet: the next one buys nothing until they must.
 */
import { join } from 'node:path';
import { readIfThere, writeDurably } from '../../durable-file.ts';
import { LIST_LAG_MS } from './recent-launches.ts';

const FILE = 'ec2-launched';

export interface LaunchJournal {
  /** By an earlier process. Undefined: never. */
  readonly lastMs: number | undefined;
  note(atMs: number): Promise<void>;
}

/** A file that says nothing counts as none. */
export async function openLaunchJournal(dataDir: string): Promise<LaunchJournal> {
  const path = join(dataDir, FILE);
  const lastMs = Number.parseInt((await readIfThere(path)) ?? '', 10);
  return {
    lastMs: Number.isNaN(lastMs) ? undefined : lastMs,
    note: (atMs) => writeDurably(path, `${atMs}\n`),
  };
}

/** EC2's lists may lack what was bought last. A time that lies ahead is of a clock that was set back. */
export function mayLag({ lastMs }: Pick<LaunchJournal, 'lastMs'>, nowMs: number): boolean {
  return lastMs !== undefined && Math.abs(nowMs - lastMs) < LIST_LAG_MS;
}
