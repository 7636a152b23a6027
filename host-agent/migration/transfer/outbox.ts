/** Gathers units into frames: content into one, zeros into another, each as long as a frame may be. */
import type { ContentEncoding } from '../peer/content-encoding.ts';
import type { PeerConnection } from '../peer/peer-connection.ts';
import { MAX_ZERO_RUNS, runsOf } from '../peer/unit-frames.ts';
import type { Area } from './areas.ts';

/** Of content in one frame: long enough that heads do not count, short enough to be a small wait. */
export const FRAME_CONTENT_BYTES = 512 * 1024;

export class Outbox {
  readonly #connection: PeerConnection;
  readonly #encoding: ContentEncoding;
  /** Used again for each frame: a frame is encoded before `send` gives back control. */
  readonly #content = Buffer.alloc(FRAME_CONTENT_BYTES);
  #area: Area | undefined;
  #units: number[] = [];
  #zeroUnits: number[] = [];
  #sentUnits = 0;
  #sentZeroUnits = 0;

  constructor(connection: PeerConnection, encoding: ContentEncoding) {
    this.#connection = connection;
    this.#encoding = encoding;
  }

  /** How many units with content were handed to the connection. */
  get sentUnits(): number {
    return this.#sentUnits;
  }

  get sentZeroUnits(): number {
    return this.#sentZeroUnits;
  }

  /** Takes one unit as it is now; gives a promise only where the caller has to wait. */
  add(area: Area, unit: number): Promise<void> | undefined {
    if (this.#area !== area) return this.#changeTo(area, unit);
    const state = area.stateOf(unit);
    if (state === 'base') return undefined;
    if (state === 'zero') {
      this.#zeroUnits.push(unit);
      return this.#zeroUnits.length === MAX_ZERO_RUNS ? this.flush() : undefined;
    }
    const content = area.read(unit);
    return content instanceof Promise
      ? content.then((bytes) => this.#keep(area, { unit, bytes }))
      : this.#keep(area, { unit, bytes: content });
  }

  /** Sends what was gathered. Rejects with the connection's cause. */
  async flush(): Promise<void> {
    const area = this.#area;
    if (area === undefined) return;
    const units = this.#units;
    const runs = runsOf(this.#zeroUnits);
    this.#sentUnits += units.length;
    this.#sentZeroUnits += this.#zeroUnits.length;
    this.#units = [];
    this.#zeroUnits = [];
    if (units.length > 0) {
      const content = this.#content.subarray(0, units.length * area.unitBytes);
      const { id, unitBytes } = area;
      const encoding = this.#encoding;
      await this.#connection.send({ kind: 'units', area: id, unitBytes, units, content, encoding });
    }
    if (runs.length > 0) await this.#connection.send({ kind: 'zero-units', area: area.id, runs });
  }

  async #changeTo(area: Area, unit: number): Promise<void> {
    await this.flush();
    this.#area = area;
    await this.add(area, unit);
  }

  #keep(
    area: Area,
    { unit, bytes }: { readonly unit: number; readonly bytes: Buffer },
  ): Promise<void> | undefined {
    const at = this.#units.length * area.unitBytes;
    bytes.copy(this.#content, at);
    // Only a disk's last cluster can be shorter; the rest of it is nobody's.
    if (bytes.length < area.unitBytes)
      this.#content.fill(0, at + bytes.length, at + area.unitBytes);
    this.#units.push(unit);
    return at + 2 * area.unitBytes > FRAME_CONTENT_BYTES ? this.flush() : undefined;
  }
}
