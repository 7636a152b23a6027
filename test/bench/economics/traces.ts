/**
 * Measured spot availability: files `ZONE_MACHINE_N.json` below a folder, as in the public repository
 * skypilot-org/spot-traces ("Can't Be Late", NSDI '24). A sample is above 0 when an instance was up.
 */
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';

const TraceFile = z.object({
  metadata: z.object({ gap_seconds: z.number().positive() }),
  data: z.array(z.number()).min(2),
});

export interface Machine {
  readonly type: string;
  readonly vcpus: number;
  readonly memoryMib: number;
  /** AWS's list price for Linux in us-east-1. */
  readonly onDemandUsd: number;
}

/** By the name that the files give it. */
const MACHINES: Readonly<Record<string, Machine>> = {
  intel_64: { type: 'r5.16xlarge', vcpus: 64, memoryMib: 524_288, onDemandUsd: 4.032 },
  v100_1: { type: 'p3.2xlarge', vcpus: 8, memoryMib: 62_464, onDemandUsd: 3.06 },
};

export interface Trace {
  readonly name: string;
  readonly machine: Machine;
  readonly gapMs: number;
  readonly zones: readonly Zone[];
}

export interface Zone {
  readonly name: string;
  readonly up: readonly boolean[];
}

/** One for each folder and region: a fleet is in one region. In the order of their names. */
export async function readTraces(folder: string): Promise<readonly Trace[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() && /_\d+\.json$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const groups = Map.groupBy(paths, (path) => join(dirname(path), regionOf(path)));
  return await Promise.all(
    [...groups].map(([group, files]) => {
      const name = `${basename(dirname(group))}, ${basename(group)}`;
      return readTrace(name, files);
    }),
  );
}

/** `us-east-1b_intel_64.json` → `us-east-1` */
function regionOf(path: string): string {
  return (basename(path).split('_')[0] ?? '').slice(0, -1);
}

async function readTrace(name: string, paths: readonly string[]): Promise<Trace> {
  const files = await Promise.all(
    paths.map(async (path) => {
      const [zone = '', ...kind] = basename(path, '.json').split('_');
      const { metadata, data } = TraceFile.parse(JSON.parse(await readFile(path, 'utf8')));
      return { zone, kind: kind.join('_'), gapMs: metadata.gap_seconds * 1000, data };
    }),
  );
  const [first] = files;
  const machine = MACHINES[first?.kind ?? ''];
  if (first === undefined || machine === undefined)
    throw new Error(`The machine of ${paths[0]} is not known here.`);
  const zones = files.map(({ zone, data }) => ({ name: zone, up: data.map((count) => count > 0) }));
  return { name, machine, gapMs: first.gapMs, zones };
}

export function isUp({ up }: Zone, gapMs: number, atMs: number): boolean {
  return up[Math.floor(atMs / gapMs)] ?? false;
}

/** When a machine that runs there now goes away; undefined: not in this trace. */
export function nextEndMs({ up }: Zone, gapMs: number, fromMs: number): number | undefined {
  const at = up.indexOf(false, Math.floor(fromMs / gapMs));
  return at < 0 ? undefined : at * gapMs;
}

export function durationMs({ zones, gapMs }: Trace): number {
  return Math.min(...zones.map(({ up }) => up.length)) * gapMs;
}
