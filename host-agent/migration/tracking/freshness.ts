/**
 * When has the image everything that the guest wrote before a pulse began? Told from the stream alone.
 *
 * QEMU's migration thread (migration.c, migration_iteration_run; ram.c, ram_save_iterate) goes on like
 * this for as long as the migration is held:
 *
 *   if nothing is left to send: synchronise its dirty bitmap with the guest
 *   → one `ram` section: go on over the blocks from where the last section ended, around their end,
 *   sending what is dirty, until nothing is or 50 ms are over
 *
 * (`holdMigration` sets the threshold so.) When nobody reads, it blocks in a write, with up to a socket
 * buffer of old sections before it: hundreds, when they are empty. So:
 *
 *   stale ──old bytes were read──▶ settling ──3 sections ended──▶ sweeping ──once around──▶ renewed
 *   renewed ──once around from its first page──▶ done
 *
 * - Old are: what this process had buffered (known exactly), and what the kernel had. Each write
 *   takes at least MIN_WRITE_BYTES of the sender's buffer (skb->truesize), and every section ends with
 *   one; so a section weighs its bytes or that, whichever is more, until the buffer's size is weighed.
 * - The write that QEMU was blocked in, and one buffer that exceeded the limit, belong to the two
 *   sections at that border. What begins after them was made after the pulse began.
 * - From there: once every page of memory was passed, nothing is left of an earlier synchronisation.
 *   The next page is of a new one, which came no later than that page; once every page was passed
 *   from there, all that was dirty then has been sent, with the content of then or later. Two laps do
 *   not say that: of a section that finds no more, the last one is for nothing, and nobody sees it.
 *   A section without a page says all of it at once.
 */

/** Below what any kernel charges for a write of a few bytes: sk_buff (232) and skb_shared_info (320). */
const MIN_WRITE_BYTES = 552;
const SETTLING_ROUNDS = 3;
/** Pages of all blocks in one order: a block's number, times more than any block's size. */
const BLOCK_STRIDE = 2 ** 46;
/** What the parser may hold of a record that was broken off. */
const CARRY_BYTES = 8 * 1024;

export interface Backlog {
  /** Read from the socket and not parsed yet. */
  readonly bufferedBytes: number;
  /** The sender's limit of what lies in the kernel. */
  readonly kernelBytes: number;
}

export interface StreamRound {
  readonly pages: number;
  readonly zeroPages: number;
  /** At least: names of blocks are not counted. */
  readonly bytes: number;
}

interface Position {
  /** How often the end of memory was passed for sure: it may have been more often. */
  readonly wraps: number;
  readonly key: number;
}

export class Freshness {
  #bufferedBytes: number;
  #kernelBytes: number;
  #settling = SETTLING_ROUNDS;
  #lastKey: number;
  #wraps = 0;
  #start: Position | undefined;
  #renewed: Position | undefined;
  #isAround = false;
  #done = false;

  /** `lastKey`: `pageKey` of the page that was read last, or -1. */
  constructor(backlog: Backlog, lastKey: number) {
    this.#bufferedBytes = backlog.bufferedBytes;
    this.#kernelBytes = backlog.kernelBytes + CARRY_BYTES;
    this.#lastKey = lastKey;
  }

  /** The section that comes now was begun by QEMU after the pulse was. */
  get isFresh(): boolean {
    return this.#start !== undefined;
  }

  get isDone(): boolean {
    return this.#done;
  }

  page(key: number): void {
    if (this.#start !== undefined) {
      if (key <= this.#lastKey) this.#wraps += 1;
      const here = { wraps: this.#wraps, key };
      if (this.#renewed !== undefined) this.#isAround ||= isLapAfter(here, this.#renewed);
      else if (isLapAfter(here, this.#start)) this.#renewed = here;
    }
    this.#lastKey = key;
  }

  round({ pages, zeroPages, bytes }: StreamRound): void {
    if (this.#start !== undefined) {
      if (this.#isAround || pages + zeroPages === 0) this.#done = true;
    } else if (this.#weigh(bytes)) {
      this.#settling -= 1;
      if (this.#settling === 0) this.#start = { wraps: 0, key: this.#lastKey };
    }
  }

  /** Gives whether everything old had been read before this section. */
  #weigh(bytes: number): boolean {
    if (this.#bufferedBytes > 0) {
      this.#bufferedBytes -= bytes;
      return false;
    }
    if (this.#kernelBytes <= 0) return true;
    this.#kernelBytes -= Math.max(bytes, MIN_WRITE_BYTES);
    return false;
  }
}

function isLapAfter({ wraps, key }: Position, from: Position): boolean {
  return wraps > from.wraps + 1 || (wraps === from.wraps + 1 && key >= from.key);
}

/** `block`: its place in the stream's list. */
export function pageKey(block: number, offset: number): number {
  return block * BLOCK_STRIDE + offset;
}
