/** What the provider knows of a host: `machine/host.json` in the host's folder, replaced atomically. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../../durable-file.ts';
import { ProcessRef } from '../../process-ref.ts';
import { fleetDir, machineDir } from './local-names.ts';

export const MachineRecord = z.object({
  machineId: z.string().regex(/^h-[0-9a-f]{8}$/),
  offerId: z.string(),
  clientToken: z.string(),
  state: z.enum(['launching', 'running', 'terminating']),
  launchedAtMs: z.int(),
  /** Its place on the bridge. */
  index: z.int().min(0),
  agent: ProcessRef.nullable(),
  metadata: ProcessRef.nullable(),
});
export type MachineRecord = Readonly<z.infer<typeof MachineRecord>>;

export interface FleetHome {
  readonly home: string;
  readonly fleet: string;
}

export async function writeMachine(
  { home, fleet }: FleetHome,
  record: MachineRecord,
): Promise<void> {
  const dir = machineDir(home, fleet, record.machineId);
  await mkdir(dir, { recursive: true });
  await writeDurably(join(dir, 'host.json'), JSON.stringify(record));
}

/** Undefined for a host that is not there, or whose record is not readable. */
export async function readMachine(
  { home, fleet }: FleetHome,
  machineId: string,
): Promise<MachineRecord | undefined> {
  try {
    const text = await readFile(join(machineDir(home, fleet, machineId), 'host.json'), 'utf8');
    return MachineRecord.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** Folders of hosts, with or without a record. */
export async function listMachineIds({ home, fleet }: FleetHome): Promise<readonly string[]> {
  return readdir(join(fleetDir(home, fleet), 'hosts')).catch(() => []);
}

export async function readMachines(at: FleetHome): Promise<readonly MachineRecord[]> {
  const ids = await listMachineIds(at);
  const records = await Promise.all(ids.map((id) => readMachine(at, id)));
  return records.filter((record) => record !== undefined);
}
