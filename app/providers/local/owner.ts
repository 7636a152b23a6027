/** Whose an ephemeral fleet is: `owner.json` in its folder, so that a sweep knows when it is dead. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isRunning, ProcessRef, readProcess } from '../../process-ref.ts';
import { fleetDir } from './local-names.ts';
import type { FleetHome } from './machine-record.ts';

const Owner = z.object({ ephemeral: z.boolean(), owner: ProcessRef });

/** Marks the fleet as this process's own: with it gone, `sweepDeadFleets` removes the fleet. */
export async function ownEphemeralFleet({ home, fleet }: FleetHome): Promise<void> {
  const dir = fleetDir(home, fleet);
  await mkdir(dir, { recursive: true });
  const owner = { ephemeral: true, owner: readProcess(process.pid) };
  await writeFile(join(dir, 'owner.json'), JSON.stringify(owner), { flush: true });
}

export async function isEphemeral(at: FleetHome): Promise<boolean> {
  return (await readOwner(at))?.ephemeral === true;
}

/** Ephemeral fleets whose owner is no more. */
export async function listDeadFleets(home: string): Promise<readonly string[]> {
  const fleets = await readdir(join(home, 'fleets')).catch(() => []);
  const dead: string[] = [];
  for (const fleet of fleets) {
    const mark = await readOwner({ home, fleet });
    if (mark?.ephemeral === true && !isRunning(mark.owner)) dead.push(fleet);
  }
  return dead;
}

async function readOwner({ home, fleet }: FleetHome) {
  try {
    const text = await readFile(join(fleetDir(home, fleet), 'owner.json'), 'utf8');
    return Owner.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
