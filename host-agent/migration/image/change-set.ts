/**
 * What one consumer of an image has not seen yet: the image marks, the consumer takes. One bit a page
 * or cluster, so that a thing that changes a hundred times between two looks is taken once.
 *
 * A consumer takes first and reads then: what changes in between is marked again.
 */
const BITS = 32;

export class ChangeSet {
  readonly #words: Uint32Array;
  readonly #capacity: number;
  #size = 0;
  /** Where `take` goes on: without it the front would starve the rest. */
  #cursor = 0;

  /** For the indices below `capacity`; all others throw RangeError. */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#words = new Uint32Array(Math.ceil(capacity / BITS));
  }

  /** How many are marked. */
  get size(): number {
    return this.#size;
  }

  has(index: number): boolean {
    this.#check(index);
    return this.#isSet(index);
  }

  mark(index: number): void {
    this.#check(index);
    if (this.#isSet(index)) return;
    this.#flip(index);
    this.#size += 1;
  }

  clear(index: number): void {
    this.#check(index);
    if (!this.#isSet(index)) return;
    this.#flip(index);
    this.#size -= 1;
  }

  /** Takes at most `limit` marks away and gives their indices, in order but for one turn-around. */
  take(limit: number): readonly number[] {
    const taken: number[] = [];
    while (taken.length < limit && this.#size > 0) {
      const index = this.#cursor;
      const isEmptyWord = index % BITS === 0 && this.#words[index / BITS] === 0;
      if (this.#isSet(index)) {
        this.clear(index);
        taken.push(index);
      }
      const step = isEmptyWord ? BITS : 1;
      this.#cursor = index + step < this.#capacity ? index + step : 0;
    }
    return taken;
  }

  #isSet(index: number): boolean {
    return ((this.#words[Math.floor(index / BITS)] ?? 0) & (1 << (index % BITS))) !== 0;
  }

  #flip(index: number): void {
    const word = Math.floor(index / BITS);
    this.#words[word] = (this.#words[word] ?? 0) ^ (1 << (index % BITS));
  }

  #check(index: number): void {
    if (Number.isInteger(index) && index >= 0 && index < this.#capacity) return;
    throw new RangeError(`${index} is not below ${this.#capacity}`);
  }
}
