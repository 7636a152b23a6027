/** The compiled programs of a role, and their maps: those in use on its VXLAN device, or new ones. */
import { findProgram } from './attachment.ts';
import type { ObjectFile } from './object-file.ts';
import {
  closeMaps,
  createMaps,
  fits,
  type MapSet,
  type ProgramName,
  readObject,
} from './programs.ts';
import { openMapsOf } from './running-maps.ts';

/** Maps of another version's shapes are left to their program, which is about to be replaced. */
export async function openObjects<N extends ProgramName>(
  names: readonly N[],
  where: {
    readonly vxlan: string;
    readonly netnsPath?: string | undefined;
    readonly objects?: string | undefined;
  },
): Promise<{ readonly objects: Readonly<Record<N, ObjectFile>>; readonly maps: MapSet }>;
export async function openObjects(
  names: readonly ProgramName[],
  where: {
    readonly vxlan: string;
    readonly netnsPath?: string | undefined;
    readonly objects?: string | undefined;
  },
): Promise<{ readonly objects: Readonly<Record<string, ObjectFile>>; readonly maps: MapSet }> {
  const all = names.map((name) => [name, readObject(name, where.objects)] as const);
  const running = await findProgram(where.vxlan, where.netnsPath);
  const maps: MapSet = running === undefined ? new Map() : openMapsOf(running);
  if (!all.every(([, object]) => fits(object, maps))) closeMaps(maps);
  for (const [, object] of all) createMaps(object, maps);
  return { objects: Object.fromEntries(all), maps };
}
