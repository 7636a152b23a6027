/**
 * A guest's memory as the agent knows it: every page is *as in base*, *zero* or *own*.
 *
 *   base ──put (another content)──▶ own ◀──put── zero          base ──putZero──▶ zero
 *                                   own ──putZero──▶ zero      (only where the base is not zero)
 *
 * Invariants: a page that equals what the image has changes nothing, whichever way it came; a page
 * never goes back to base; every change is marked in every ChangeSet that watches, and heats the page.
 * An index of a block stays its own for ever, also when hot-plug puts others before it in the stream.
 */
import { PAGE_BYTES, type RamBlock } from '../stream/stream-format.ts';
import { BlockImage, type PageState, type RangeContent } from './block-image.ts';
import { ChangeSet } from './change-set.ts';
import { type BlockHeat, HEAT_TICK_MS } from './heat.ts';
import type { MemoryBase } from './memory-base.ts';

/** `index` is what the image's methods call `block`. */
export interface ImageBlock extends RamBlock {
  readonly index: number;
}

/** The block that has a base, by its name in the migration stream. */
export interface ImageBase {
  readonly block: string;
  readonly memory: MemoryBase;
}

export class MemoryImage {
  readonly #base: ImageBase | undefined;
  readonly #images: BlockImage[] = [];
  readonly #watches = new Map<readonly ChangeSet[], ChangeSet[]>();
  #listed: readonly ImageBlock[] = [];
  #tick = 0;

  constructor(spec: {
    readonly blocks: readonly RamBlock[];
    readonly base: ImageBase | undefined;
  }) {
    this.#base = spec.base;
    this.setBlocks(spec.blocks);
  }

  /** The machine's blocks, in the stream's order. */
  get blocks(): readonly ImageBlock[] {
    return this.#listed;
  }

  /** How many pages take memory of their own. */
  get ownPages(): number {
    return this.#listed.reduce((sum, { index }) => sum + this.#image(index).ownPages, 0);
  }

  /**
   * The machine has these blocks now; gives each one's index. A block that is known by name and size
   * keeps its index and content; another begins empty, under a new index (as do its ChangeSets, at
   * the end of what `watch` gave); one that is not listed any more is forgotten.
   */
  setBlocks(blocks: readonly RamBlock[]): readonly number[] {
    const known = new Map(this.#listed.map((block) => [block.name, block]));
    this.#listed = blocks.map(({ name, sizeBytes }) => {
      const same = known.get(name);
      if (same?.sizeBytes === sizeBytes) return same;
      return { name, sizeBytes, index: this.#add({ name, sizeBytes }) };
    });
    const kept = new Set(this.#listed.map(({ index }) => index));
    for (const { index, name } of known.values()) {
      if (!kept.has(index)) this.#forget(index, name);
    }
    return this.#listed.map(({ index }) => index);
  }

  /** `offset`: of a page in its block, in bytes. Gives whether the page was another one before. */
  putPage(block: number, offset: number, bytes: Buffer): boolean {
    return this.#image(block).put(offset / PAGE_BYTES, bytes, this.#tick);
  }

  putZero(block: number, offset: number): boolean {
    return this.#image(block).putZero(offset / PAGE_BYTES, this.#tick);
  }

  stateOf(block: number, page: number): PageState {
    return this.#image(block).stateOf(page);
  }

  /** A view, valid until the next put; not to be written to. */
  readPage(block: number, page: number): Buffer {
    return this.#image(block).read(page);
  }

  readRange(block: number, range: number): RangeContent {
    return this.#image(block).readRange(range);
  }

  heatOf(block: number): BlockHeat {
    return this.#image(block).heat;
  }

  /** The heat's clock; what is put from now on changes at this time. It never goes back. */
  advancePulse(nowMs: number): void {
    this.#tick = Math.max(this.#tick, Math.floor(nowMs / HEAT_TICK_MS));
  }

  get tick(): number {
    return this.#tick;
  }

  /**
   * One ChangeSet a block, by its index; they mark what changes from now on. `everything`: what is
   * not as at the VM's start is marked already.
   */
  watch({ everything = false }: { readonly everything?: boolean } = {}): readonly ChangeSet[] {
    const sets = this.#images.map((image) => addWatcher(image));
    if (everything) {
      for (const [index, set] of sets.entries()) this.#image(index).markOwnAndZero(set);
    }
    this.#watches.set(sets, sets);
    return sets;
  }

  unwatch(sets: readonly ChangeSet[]): void {
    if (!this.#watches.delete(sets)) return;
    for (const [block, set] of sets.entries()) this.#images[block]?.watchers.delete(set);
  }

  #add(block: RamBlock): number {
    const base = block.name === this.#base?.block ? this.#base.memory : undefined;
    const image = new BlockImage(block, base);
    this.#images.push(image);
    for (const sets of this.#watches.values()) sets.push(addWatcher(image));
    return this.#images.length - 1;
  }

  #forget(index: number, name: string): void {
    for (const set of this.#image(index).watchers) set.clearAll();
    this.#images[index] = new BlockImage({ name, sizeBytes: 0 }, undefined);
  }

  #image(block: number): BlockImage {
    const image = this.#images[block];
    if (image === undefined) throw new RangeError(`the image has no block ${block}`);
    return image;
  }
}

function addWatcher(image: BlockImage): ChangeSet {
  const set = new ChangeSet(image.pages);
  image.watchers.add(set);
  return set;
}
