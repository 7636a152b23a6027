/**
 * The maps of a program that hangs on a device: an agent that starts again finds there what an
 * earlier one left, packets flow meanwhile, and all goes with the device. No file names it.
 */
import { closeSync } from 'node:fs';
import { attributes, BPF, bpf } from './kernel.ts';
import { describeMap } from './kernel-map.ts';
import type { MapSet } from './programs.ts';

const PROGRAM_INFO_BYTES = 80;
const MAX_MAPS = 64;

/** All maps that the program uses or is bound to, by their names. The caller closes them. */
export function openMapsOf(programId: number): MapSet {
  const program = bpf(BPF.programById, attributes([0, programId]), `open program ${programId}`);
  const maps: MapSet = new Map();
  try {
    for (const id of readMapIds(program)) {
      const fd = bpf(BPF.mapById, attributes([0, id]), `open map ${id}`);
      const { name, definition } = describeMap(fd);
      maps.set(name, { fd, definition });
    }
    return maps;
  } finally {
    closeSync(program);
  }
}

function readMapIds(program: number): readonly number[] {
  const ids = Buffer.alloc(MAX_MAPS * 4);
  const info = Buffer.alloc(PROGRAM_INFO_BYTES);
  info.writeUInt32LE(MAX_MAPS, 52);
  attributes([0, ids]).copy(info, 56, 0, 8);
  bpf(BPF.info, attributes([0, program], [4, info.length], [8, info]), 'describe a program');
  const count = Math.min(info.readUInt32LE(52), MAX_MAPS);
  return Array.from({ length: count }, (_, n) => ids.readUInt32LE(n * 4));
}

/** From now on the program holds every one of the maps, those too that it does not use. */
export function bindMaps(program: number, maps: MapSet): void {
  for (const [name, { fd }] of maps) {
    bpf(BPF.bindMap, attributes([0, program], [4, fd]), `bind the map ${name}`);
  }
}
