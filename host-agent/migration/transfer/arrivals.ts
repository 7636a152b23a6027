/**
 * Puts what arrives into the images. What the peer sent of a unit stands against whatever the store
 * or the layout says of it, in whichever order they come.
 *
 * Memory is written at once. The disk is written in turn, one thing at a time, so that two words on a
 * cluster cannot overtake each other on their way to the file.
 */
import { ChangeSet } from '../image/change-set.ts';
import { DISK_AREA } from '../peer/peer-frames.ts';
import { type Area, rangeBytes, unitsOf } from './areas.ts';

export class Arrivals {
  readonly #fromPeer = new Map<Area, ChangeSet>();
  #diskTurn: Promise<void> = Promise.resolve();

  constructor(areas: readonly Area[]) {
    for (const area of areas) this.#fromPeer.set(area, new ChangeSet(area.units));
  }

  /** Rejects when the disk's image cannot be written. */
  peerContent(
    area: Area,
    { unit, content }: { readonly unit: number; readonly content: Buffer },
  ): void | Promise<void> {
    this.#fromPeer.get(area)?.mark(unit);
    return this.#inTurn(area, () => area.write(unit, content));
  }

  peerZero(area: Area, unit: number): void | Promise<void> {
    this.#fromPeer.get(area)?.mark(unit);
    return this.#inTurn(area, () => area.zero(unit));
  }

  /** False: the peer has sent all of it. */
  isWanted(area: Area, range: number): boolean {
    const { first, end } = unitsOf(area, range);
    for (let unit = first; unit < end; unit += 1) if (this.#isOpen(area, unit)) return true;
    return false;
  }

  /** `content` has exactly the range's bytes. */
  storeContent(
    area: Area,
    { range, content }: { readonly range: number; readonly content: Buffer },
  ): void | Promise<void> {
    const { first, end } = unitsOf(area, range);
    return this.#inTurn(area, () => {
      // A range of the disk is one cluster, so what is written last here is the only thing.
      let wait: Promise<void> | undefined;
      for (let unit = first; unit < end; unit += 1) {
        if (!this.#isOpen(area, unit)) continue;
        const at = (unit - first) * area.unitBytes;
        const bytes = content.subarray(at, at + area.unitBytes);
        const put = isZero(bytes) ? area.zero(unit) : area.write(unit, bytes);
        if (put instanceof Promise) wait = put;
      }
      return wait;
    });
  }

  layoutZero(area: Area, range: number): void | Promise<void> {
    const { first, end } = unitsOf(area, range);
    return this.#inTurn(area, () => {
      for (let unit = first; unit < end; unit += 1) {
        if (this.#isOpen(area, unit)) area.zero(unit);
      }
    });
  }

  /** Resolves when the disk has all that arrived so far. */
  async settled(): Promise<void> {
    await this.#diskTurn;
  }

  #isOpen(area: Area, unit: number): boolean {
    return this.#fromPeer.get(area)?.has(unit) === false;
  }

  #inTurn(area: Area, put: () => void | Promise<void>): void | Promise<void> {
    if (area.id !== DISK_AREA) return put();
    const turn = this.#diskTurn.then(put);
    this.#diskTurn = turn.catch(() => {});
    return turn;
  }
}

/** Whether a chunk is as long as the range that it is for. */
export function isWholeRange(
  area: Area,
  { range, content }: { readonly range: number; readonly content: Buffer },
): boolean {
  return content.length === rangeBytes(area, range);
}

function isZero(bytes: Buffer): boolean {
  return bytes[0] === 0 && bytes.equals(ZEROES.subarray(0, bytes.length));
}

const ZEROES = Buffer.alloc(64 * 1024);
