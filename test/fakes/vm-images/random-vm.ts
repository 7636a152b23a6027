/** A small VM whose memory and disk are filled by chance, the same for the same seed. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLUSTER_BYTES } from '../../../host-agent/migration/disk/cluster.ts';
import { DiskImage } from '../../../host-agent/migration/disk/disk-image.ts';
import { MemoryBase } from '../../../host-agent/migration/image/memory-base.ts';
import { MemoryImage } from '../../../host-agent/migration/image/memory-image.ts';
import { PAGE_BYTES, type RamBlock } from '../../../host-agent/migration/stream/stream-format.ts';
import type { VmImages } from '../../../host-agent/migration/transfer/areas.ts';

export const BLOCKS: readonly RamBlock[] = [
  { name: 'm0', sizeBytes: 64 * 16 * PAGE_BYTES },
  { name: 'm1', sizeBytes: 8 * 16 * PAGE_BYTES },
  // Neither ends with a whole range.
  { name: 'pc.bios', sizeBytes: 21 * PAGE_BYTES },
  { name: 'acpi', sizeBytes: PAGE_BYTES },
];
export const DISK_BYTES = 40 * CLUSTER_BYTES + 4096;

/** Mulberry32: small, and good enough to choose with. */
export function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}
export type Chance = ReturnType<typeof seeded>;

/** Every third page of the template is zero. */
export function makeBase(chance: Chance, sizeBytes = BLOCKS[0]?.sizeBytes ?? 0): MemoryBase {
  const segment = new SharedArrayBuffer(sizeBytes);
  const filled = new SharedArrayBuffer(sizeBytes / PAGE_BYTES);
  const flags = new Uint8Array(filled);
  for (let page = 0; page < flags.length; page += 1) {
    if (chance(3) === 0) continue;
    flags[page] = 1;
    Buffer.from(segment, page * PAGE_BYTES, PAGE_BYTES).fill(1 + chance(255));
  }
  return new MemoryBase({ sizeBytes, segments: [segment], filled });
}

export interface TestImages extends VmImages, AsyncDisposable {}

export async function makeImages(base: MemoryBase): Promise<TestImages> {
  const dir = await mkdtemp(join(tmpdir(), 'images-'));
  const disk = await DiskImage.create({ path: join(dir, 'disk'), sizeBytes: DISK_BYTES });
  return {
    memory: new MemoryImage({ blocks: BLOCKS, base: { block: 'm0', memory: base } }),
    disk,
    [Symbol.asyncDispose]: async () => {
      await disk.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** What a guest does in a while: writes, clears, and writes back what the template has. */
export async function changeImages(
  { memory, disk }: VmImages,
  {
    chance,
    base,
    changes,
  }: { readonly chance: Chance; readonly base: MemoryBase; changes: number },
): Promise<void> {
  changeMemory(memory, { chance, base, changes });
  for (let count = 0; count < changes / 8; count += 1) {
    const cluster = chance(disk.clusters);
    if (chance(4) === 0) disk.zero(cluster);
    else await disk.write(cluster, clusterOf(disk, { chance, cluster }));
  }
}

export function changeMemory(
  memory: MemoryImage,
  {
    chance,
    base,
    changes,
  }: { readonly chance: Chance; readonly base: MemoryBase; changes: number },
): void {
  for (let count = 0; count < changes; count += 1) {
    const block = memory.blocks[chance(memory.blocks.length)];
    if (block === undefined) continue;
    const page = chance(block.sizeBytes / PAGE_BYTES);
    const what = chance(8);
    if (what === 0 && block.name === 'm0') {
      memory.putPage(block.index, page * PAGE_BYTES, base.page(page));
    } else if (what < 3) memory.putZero(block.index, page * PAGE_BYTES);
    else memory.putPage(block.index, page * PAGE_BYTES, pageOf(chance));
  }
}

function pageOf(chance: Chance): Buffer {
  const page = Buffer.alloc(PAGE_BYTES, 1 + chance(255));
  page.writeUInt32BE(chance(2 ** 32), chance(PAGE_BYTES - 4));
  return page;
}

function clusterOf(
  disk: DiskImage,
  { chance, cluster }: { readonly chance: Chance; readonly cluster: number },
): Buffer {
  const length = Math.min(CLUSTER_BYTES, disk.sizeBytes - cluster * CLUSTER_BYTES);
  const content = Buffer.alloc(length, 1 + chance(255));
  content.writeUInt32BE(chance(2 ** 32), 8);
  return content;
}

/** Where the two differ; empty when they are the same machine. */
export async function differences(a: VmImages, b: VmImages): Promise<readonly string[]> {
  const found = memoryDifferences(a.memory, b.memory);
  for (let cluster = 0; cluster < a.disk.clusters; cluster += 1) {
    const states = [a.disk.stateOf(cluster), b.disk.stateOf(cluster)];
    if (states.includes('base')) {
      if (states[0] !== states[1]) found.push(`cluster ${cluster} is ${states.join(', ')}`);
    } else if (!(await a.disk.read(cluster)).equals(await b.disk.read(cluster))) {
      found.push(`cluster ${cluster}`);
    }
  }
  return found;
}

export function memoryDifferences(a: MemoryImage, b: MemoryImage): string[] {
  return a.blocks.flatMap(({ index, name, sizeBytes }) => {
    const other = b.blocks.find((block) => block.name === name);
    const pages = Array.from({ length: sizeBytes / PAGE_BYTES }, (_, page) => page);
    return pages
      .filter((page) => !other || !a.readPage(index, page).equals(b.readPage(other.index, page)))
      .map((page) => `${name} ${page}`);
  });
}
