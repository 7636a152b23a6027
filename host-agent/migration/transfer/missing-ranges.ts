/** Asks the peer for ranges that the store did not give, many at a time. */
import type { PeerConnection } from '../peer/peer-connection.ts';
import { MAX_LAYOUT_RANGES } from '../peer/peer-frames.ts';

export class MissingRanges {
  readonly #connection: PeerConnection;
  readonly #onAsked: () => void;
  readonly #waiting = new Map<number, number[]>();
  #asked = 0;
  #isDue = false;

  /** `onAsked`: all that were added are asked for. */
  constructor(connection: PeerConnection, onAsked: () => void) {
    this.#connection = connection;
    this.#onAsked = onAsked;
  }

  /** All that were added, those included that are asked for in a moment. */
  get asked(): number {
    return this.#asked;
  }

  get isAsking(): boolean {
    return this.#isDue;
  }

  add(area: number, range: number): void {
    this.#asked += 1;
    const ranges = this.#waiting.get(area);
    if (ranges === undefined) this.#waiting.set(area, [range]);
    else ranges.push(range);
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => this.#ask());
  }

  #ask(): void {
    this.#isDue = false;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [area, ranges] of waiting) {
      for (let at = 0; at < ranges.length; at += MAX_LAYOUT_RANGES) {
        const some = ranges.slice(at, at + MAX_LAYOUT_RANGES);
        // A failure is the connection's, which ends everything that waits for an answer.
        void this.#connection.send({ kind: 'missing', area, ranges: some }).catch(() => {});
      }
    }
    this.#onAsked();
  }
}
