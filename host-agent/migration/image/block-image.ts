/**
 * One RAM block of a guest as the agent knows it. Memory is taken only for pages that hold something
 * else than the template's page or zeros: segments are allocated when a first page in them needs it,
 * and the system makes resident only the pages of a segment that are written.
 */
import { PAGE_BYTES, type RamBlock } from '../stream/stream-format.ts';
import type { ChangeSet } from './change-set.ts';
import { BlockHeat } from './heat.ts';
import { MemoryBaseError } from './image-errors.ts';
import type { MemoryBase } from './memory-base.ts';

/** The unit in which memory is sealed and sent: as long as a chunk. */
export const RANGE_BYTES = 64 * 1024;
export const RANGE_PAGES = RANGE_BYTES / PAGE_BYTES;

/**
 * Beyond what the C library ever serves from its heap (32 MiB on 64 bits): it always comes fresh from
 * the system, zero and not resident.
 */
const SEGMENT_BYTES = 64 * 1024 * 1024;
const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);

const STATE = { initial: 0, zero: 1, own: 2 } as const;

export type PageState = 'base' | 'zero' | 'own';

/** `own`: a copy, shorter than a range only at the block's end. */
export type RangeContent =
  | { readonly kind: 'base' | 'zero' }
  | { readonly kind: 'own'; readonly content: Buffer };

export class BlockImage {
  readonly name: string;
  readonly sizeBytes: number;
  readonly pages: number;
  readonly heat: BlockHeat;
  readonly watchers = new Set<ChangeSet>();
  readonly #base: MemoryBase | undefined;
  readonly #states: Uint8Array;
  readonly #segments: (Buffer | undefined)[];
  #ownPages = 0;

  /** Without a base every page begins as zero. Throws MemoryBaseError when the base has another size. */
  constructor({ name, sizeBytes }: RamBlock, base: MemoryBase | undefined) {
    if (base !== undefined && base.sizeBytes !== sizeBytes) {
      throw new MemoryBaseError(`The template's memory does not fit the guest's block ${name}.`, {
        context: { templateBytes: base.sizeBytes, blockBytes: sizeBytes },
      });
    }
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.pages = Math.ceil(sizeBytes / PAGE_BYTES);
    this.heat = new BlockHeat(this.pages);
    this.#base = base;
    this.#states = new Uint8Array(this.pages);
    this.#segments = new Array(Math.ceil(sizeBytes / SEGMENT_BYTES));
  }

  /** How many pages take memory of their own. */
  get ownPages(): number {
    return this.#ownPages;
  }

  stateOf(page: number): PageState {
    const state = this.#states[this.#checked(page)];
    if (state === STATE.own) return 'own';
    return state === STATE.zero || this.#base === undefined ? 'zero' : 'base';
  }

  /** Gives whether the page was another one before; then it is marked for every watcher. */
  put(page: number, bytes: Buffer, tick: number): boolean {
    if (bytes.length !== PAGE_BYTES) throw new RangeError('a page has another size');
    if (this.#holds(this.#checked(page), bytes)) return false;
    const segment = this.#segmentOf(page);
    segment.set(bytes, (page * PAGE_BYTES) % SEGMENT_BYTES);
    if (this.#states[page] !== STATE.own) this.#ownPages += 1;
    this.#become(page, STATE.own, tick);
    return true;
  }

  putZero(page: number, tick: number): boolean {
    const state = this.#states[this.#checked(page)];
    if (state === STATE.zero) return false;
    if (state === STATE.initial && (this.#base?.isZero(page) ?? true)) return false;
    if (state === STATE.own) this.#ownPages -= 1;
    this.#become(page, STATE.zero, tick);
    return true;
  }

  /** A view, valid until the next put; not to be written to. */
  read(page: number): Buffer {
    const state = this.#states[this.#checked(page)];
    if (state === STATE.own) {
      const start = (page * PAGE_BYTES) % SEGMENT_BYTES;
      return this.#segmentOf(page).subarray(start, start + PAGE_BYTES);
    }
    return (state === STATE.initial ? this.#base?.page(page) : undefined) ?? ZERO_PAGE;
  }

  readRange(range: number): RangeContent {
    const first = range * RANGE_PAGES;
    const end = Math.min(first + RANGE_PAGES, this.pages);
    const states = this.#states.subarray(this.#checked(first), end);
    if (this.#base !== undefined && states.every((state) => state === STATE.initial)) {
      return { kind: 'base' };
    }
    if (!states.includes(STATE.own) && this.#isZero(first, end)) return { kind: 'zero' };
    const content = Buffer.allocUnsafeSlow((end - first) * PAGE_BYTES);
    for (let page = first; page < end; page += 1) {
      content.set(this.read(page), (page - first) * PAGE_BYTES);
    }
    return { kind: 'own', content };
  }

  /** Marks what is no longer as it was at the VM's start. */
  markOwnAndZero(changes: ChangeSet): void {
    for (const [page, state] of this.#states.entries()) {
      if (state !== STATE.initial) changes.mark(page);
    }
  }

  #isZero(first: number, end: number): boolean {
    for (let page = first; page < end; page += 1) {
      if (this.#states[page] === STATE.initial && this.#base?.isZero(page) === false) return false;
    }
    return true;
  }

  #holds(page: number, bytes: Buffer): boolean {
    const state = this.#states[page];
    if (state === STATE.own) {
      const start = (page * PAGE_BYTES) % SEGMENT_BYTES;
      const end = start + PAGE_BYTES;
      return this.#segmentOf(page).compare(bytes, 0, PAGE_BYTES, start, end) === 0;
    }
    if (state === STATE.initial && this.#base !== undefined) return this.#base.equals(page, bytes);
    return ZERO_PAGE.equals(bytes);
  }

  #become(page: number, state: number, tick: number): void {
    this.#states[page] = state;
    this.heat.touch(page, tick);
    for (const changes of this.watchers) changes.mark(page);
  }

  #segmentOf(page: number): Buffer {
    const index = Math.floor((page * PAGE_BYTES) / SEGMENT_BYTES);
    const held = this.#segments[index];
    if (held !== undefined) return held;
    const left = this.sizeBytes - index * SEGMENT_BYTES;
    const made = Buffer.alloc(Math.min(SEGMENT_BYTES, left));
    this.#segments[index] = made;
    return made;
  }

  #checked(page: number): number {
    if (page >= 0 && page < this.pages) return page;
    throw new RangeError(`block ${this.name} has no page ${page}`);
  }
}
