/**
 * What one consumer has not seen yet: the image marks, the consumer takes. One bit an item (a page of
 * a block, or a cluster of a disk), so that it never grows, however often an item changes.
 */
const WORD_BITS = 32;

export class ChangeSet {
  /** How many items there are to mark: `0 … capacity - 1`. */
  readonly capacity: number;
  readonly #words: Uint32Array;
  #size = 0;
  /** The item at which taking goes on: what is marked all the time does not starve the rest. */
  #cursor = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#words = new Uint32Array(Math.ceil(capacity / WORD_BITS));
  }

  /** How many items are marked. */
  get size(): number {
    return this.#size;
  }

  /** Throws RangeError beyond the capacity. */
  mark(item: number): void {
    const word = this.#wordAt(item);
    const bit = 1 << (item % WORD_BITS);
    const before = this.#words[word] ?? 0;
    if ((before & bit) !== 0) return;
    this.#words[word] = before | bit;
    this.#size += 1;
  }

  clear(item: number): void {
    const word = this.#wordAt(item);
    const bit = 1 << (item % WORD_BITS);
    const before = this.#words[word] ?? 0;
    if ((before & bit) === 0) return;
    this.#words[word] = before & ~bit;
    this.#size -= 1;
  }

  has(item: number): boolean {
    const word = this.#words[this.#wordAt(item)] ?? 0;
    return (word & (1 << (item % WORD_BITS))) !== 0;
  }

  clearAll(): void {
    this.#words.fill(0);
    this.#size = 0;
  }

  /**
   * Clears up to `limit` items and gives them: ascending, from where the last call ended, at most
   * once around.
   */
  take(limit: number): readonly number[] {
    const taken: number[] = [];
    const wordCount = this.#words.length;
    const first = Math.floor(this.#cursor / WORD_BITS);
    const above = -1 << (this.#cursor % WORD_BITS);
    // The first word's lower bits come last, when all others have had their turn.
    for (let step = 0; step <= wordCount && this.#size > 0 && taken.length < limit; step += 1) {
      const mask = step === 0 ? above : step === wordCount ? ~above : -1;
      this.#takeWord((first + step) % wordCount, { mask, taken, limit });
    }
    const last = taken.at(-1);
    if (last !== undefined) this.#cursor = (last + 1) % this.capacity;
    return taken;
  }

  /** The marked items, ascending. To be read before anything is marked or cleared again. */
  *[Symbol.iterator](): Generator<number> {
    for (const [word, bits] of this.#words.entries()) {
      for (let left = bits; left !== 0; left &= left - 1) yield word * WORD_BITS + lowestBit(left);
    }
  }

  #takeWord(
    word: number,
    { mask, taken, limit }: { readonly mask: number; readonly taken: number[]; limit: number },
  ): void {
    const before = this.#words[word] ?? 0;
    let left = before & mask;
    while (left !== 0 && taken.length < limit) {
      taken.push(word * WORD_BITS + lowestBit(left));
      left &= left - 1;
      this.#size -= 1;
    }
    this.#words[word] = (before & ~mask) | left;
  }

  #wordAt(item: number): number {
    if (!(item >= 0 && item < this.capacity)) {
      throw new RangeError(`${item} is not below ${this.capacity}`);
    }
    return Math.floor(item / WORD_BITS);
  }
}

function lowestBit(bits: number): number {
  return WORD_BITS - 1 - Math.clz32(bits & -bits);
}
