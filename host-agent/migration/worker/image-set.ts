/** The images of one VM in its data worker: made once, filled by tracking or by an arrival. */
import { DiskImage } from '../disk/disk-image.ts';
import { MemoryBase, type MemoryBaseShare } from '../image/memory-base.ts';
import { MemoryImage } from '../image/memory-image.ts';
import type { VmImages } from '../transfer/areas.ts';

/** The memory block that starts as the template's. */
const BASE_BLOCK = 'm0';

export class ImageSet {
  readonly memory: MemoryImage;
  readonly #diskPath: string;
  #disk: Promise<DiskImage> | undefined;
  #opened: DiskImage | undefined;

  constructor(base: MemoryBaseShare, diskPath: string) {
    const memory = new MemoryBase(base);
    this.memory = new MemoryImage({ blocks: [], base: { block: BASE_BLOCK, memory } });
    this.#diskPath = diskPath;
  }

  /** The disk's image, made at the first call. Rejects with DiskImageError. */
  async disk(sizeBytes: number): Promise<DiskImage> {
    this.#disk ??= DiskImage.create({ path: this.#diskPath, sizeBytes });
    this.#opened = await this.#disk;
    return this.#opened;
  }

  /** Throws RangeError before the disk is known. */
  get both(): VmImages {
    if (this.#opened === undefined) throw new RangeError("the VM's disk is not known yet");
    return { memory: this.memory, disk: this.#opened };
  }

  async close(): Promise<void> {
    await this.#opened?.close();
  }
}
