/**
 * Which of the 254 simulated subnets a fleet has: claimed by creating /run/architect/subnets/<n>
 * exclusively, so that two fleets that start together never share one.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LocalCapacityError } from './local-errors.ts';
import { RUN_DIR } from './local-names.ts';

const SUBNETS_DIR = join(RUN_DIR, 'subnets');
const MAX_SUBNETS = 254;

/** The fleet's number, the one it has already where it has one. */
export async function claimSubnet(fleet: string): Promise<number> {
  await mkdir(SUBNETS_DIR, { recursive: true });
  const [existing] = await claimsOf(fleet);
  if (existing !== undefined) return existing;
  for (let n = 1; n <= MAX_SUBNETS; n += 1) {
    if (await tryClaim(n, fleet)) return n;
  }
  throw new LocalCapacityError(`All ${MAX_SUBNETS} simulated subnets of this machine are taken.`);
}

export async function releaseSubnet(fleet: string): Promise<void> {
  for (const n of await claimsOf(fleet)) await rm(join(SUBNETS_DIR, String(n)), { force: true });
}

export async function claimsOf(fleet: string): Promise<readonly number[]> {
  const names = await readdir(SUBNETS_DIR).catch(() => []);
  const owners = await Promise.all(
    names.map(async (name) => ({
      n: Number(name),
      owner: await readFile(join(SUBNETS_DIR, name), 'utf8').catch(() => ''),
    })),
  );
  return owners.filter(({ owner }) => owner === fleet).map(({ n }) => n);
}

async function tryClaim(n: number, fleet: string): Promise<boolean> {
  try {
    await writeFile(join(SUBNETS_DIR, String(n)), fleet, { flag: 'wx' });
    return true;
  } catch {
    return false;
  }
}
