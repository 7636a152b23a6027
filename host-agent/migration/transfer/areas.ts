/**
 * A VM's memory blocks and its disk, seen alike: *areas* of *units* (pages, clusters), sixteen pages
 * or one cluster to a *range* of 64 KiB. Everything that travels or is sealed is told by area, unit
 * and range.
 */
import { CLUSTER_BYTES } from '../disk/cluster.ts';
import type { DiskImage } from '../disk/disk-image.ts';
import { RANGE_BYTES } from '../image/block-image.ts';
import type { ChangeSet } from '../image/change-set.ts';
import type { ImageBlock, MemoryImage } from '../image/memory-image.ts';
import { DISK_AREA } from '../peer/peer-frames.ts';
import { PAGE_BYTES } from '../stream/stream-format.ts';

export interface VmImages {
  readonly memory: MemoryImage;
  readonly disk: DiskImage;
}

export type UnitState = 'base' | 'zero' | 'own';

export interface Area {
  /** On the wire: the block's place in the stream's list, or DISK_AREA. */
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: number;
  readonly unitBytes: number;
  readonly units: number;
  readonly unitsPerRange: number;
  readonly ranges: number;
  stateOf(unit: number): UnitState;
  /** Valid until the next write; the last unit of a disk may be shorter. Not for `base`. */
  read(unit: number): Buffer | Promise<Buffer>;
  /** `content` has `unitBytes`; what lies beyond the area's end is cut off. */
  write(unit: number, content: Buffer): void | Promise<void>;
  zero(unit: number): void;
  /** How often the range changed lately, of its hottest unit; 0: never, or not known. */
  heatOf(range: number): number;
}

/** The blocks in the stream's order, then the disk. */
export function areasOf({ memory, disk }: VmImages): readonly Area[] {
  return [
    ...memory.blocks.map((block, place) => memoryArea(memory, { block, place })),
    diskArea(disk),
  ];
}

/** The units of a range, from `first` to before `end`. */
export function unitsOf(
  area: Area,
  range: number,
): { readonly first: number; readonly end: number } {
  const first = range * area.unitsPerRange;
  return { first, end: Math.min(first + area.unitsPerRange, area.units) };
}

/** The length of a range's content: 64 KiB but for the last one. */
export function rangeBytes(area: Area, range: number): number {
  return Math.min(RANGE_BYTES, area.sizeBytes - range * RANGE_BYTES);
}

/** Marks of what changes in each area, until `end`. */
export interface AreaWatch {
  changesOf(area: Area): ChangeSet;
  /** How many bytes the marked units have. */
  markedBytes(): number;
  end(): void;
}

/** `everything`: what is not `base`, or zero where there is no base, is marked from the start. */
export function watchAreas(
  { memory, disk }: VmImages,
  { everything }: { readonly everything: boolean },
): AreaWatch {
  const pages = memory.watch({ everything });
  const clusters = disk.watch();
  if (!everything) clusters.clearAll();
  return {
    changesOf: (area) => {
      const block = memory.blocks[area.id];
      const changes = block === undefined ? clusters : pages[block.index];
      if (changes === undefined) throw new RangeError(`nobody watches ${area.name}`);
      return changes;
    },
    markedBytes: () => {
      const marked = memory.blocks.reduce((sum, { index }) => sum + (pages[index]?.size ?? 0), 0);
      return marked * PAGE_BYTES + clusters.size * CLUSTER_BYTES;
    },
    end: () => {
      memory.unwatch(pages);
      disk.unwatch(clusters);
    },
  };
}

function memoryArea(
  image: MemoryImage,
  { block, place }: { readonly block: ImageBlock; readonly place: number },
): Area {
  const { index, name, sizeBytes } = block;
  return {
    ...{ id: place, name, sizeBytes, unitBytes: PAGE_BYTES },
    ...shapeOf(sizeBytes, PAGE_BYTES),
    stateOf: (page) => image.stateOf(index, page),
    read: (page) => image.readPage(index, page),
    write: (page, content) => {
      image.putPage(index, page * PAGE_BYTES, content);
    },
    zero: (page) => {
      image.putZero(index, page * PAGE_BYTES);
    },
    heatOf: (range) => {
      const heat = image.heatOf(index);
      const first = (range * RANGE_BYTES) / PAGE_BYTES;
      const end = Math.min(first + RANGE_BYTES / PAGE_BYTES, sizeBytes / PAGE_BYTES);
      let hottest = 0;
      for (let page = first; page < end; page += 1) {
        hottest = Math.max(hottest, heat.countAt(page, image.tick));
      }
      return hottest;
    },
  };
}

function diskArea(image: DiskImage): Area {
  const { sizeBytes } = image;
  return {
    ...{ id: DISK_AREA, name: 'disk', sizeBytes, unitBytes: CLUSTER_BYTES },
    ...shapeOf(sizeBytes, CLUSTER_BYTES),
    stateOf: (cluster) => image.stateOf(cluster),
    read: (cluster) => image.read(cluster),
    write: (cluster, content) =>
      image.write(cluster, content.subarray(0, sizeBytes - cluster * CLUSTER_BYTES)),
    zero: (cluster) => image.zero(cluster),
    heatOf: () => 0,
  };
}

function shapeOf(sizeBytes: number, unitBytes: number) {
  return {
    units: Math.ceil(sizeBytes / unitBytes),
    unitsPerRange: RANGE_BYTES / unitBytes,
    ranges: Math.ceil(sizeBytes / RANGE_BYTES),
  };
}
