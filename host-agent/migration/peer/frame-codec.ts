/**
 * Cuts a byte stream into frames: u32 length of the payload (big-endian), u8 type, payload.
 *
 * Invariants: how the input is split changes nothing; a frame longer than the limit is refused by
 * its head, before any of it is kept; less than one frame is kept between two pieces.
 */
import { PeerProtocolError } from './peer-errors.ts';

export const HEAD_BYTES = 5;
const TYPE_AT = 4;

export interface RawFrame {
  readonly type: number;
  readonly payload: Buffer;
}

export class FrameParser {
  #maxPayloadBytes: number;
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #headBytes = 0;
  #payload: Buffer | undefined;
  #payloadBytes = 0;

  constructor(maxPayloadBytes: number) {
    this.#maxPayloadBytes = maxPayloadBytes;
  }

  /** Counts from the next frame's head on. */
  set maxPayloadBytes(limit: number) {
    this.#maxPayloadBytes = limit;
  }

  /** False while a frame has begun whose end has not come. */
  get isBetweenFrames(): boolean {
    return this.#headBytes === 0;
  }

  /** Calls back for each frame that these bytes complete. Throws PeerProtocolError beyond the limit. */
  push(piece: Buffer, onFrame: (frame: RawFrame) => void): void {
    let at = 0;
    while (at < piece.length) {
      at += this.#payload === undefined ? this.#takeHead(piece, at) : 0;
      if (this.#payload === undefined) continue;
      const taken = piece.copy(this.#payload, this.#payloadBytes, at);
      this.#payloadBytes += taken;
      at += taken;
      if (this.#payloadBytes === this.#payload.length) onFrame(this.#complete(this.#payload));
    }
  }

  #takeHead(piece: Buffer, at: number): number {
    const taken = piece.copy(this.#head, this.#headBytes, at);
    this.#headBytes += taken;
    if (this.#headBytes < HEAD_BYTES) return taken;
    const length = this.#head.readUInt32BE(0);
    if (length > this.#maxPayloadBytes) {
      throw new PeerProtocolError(
        `The peer sent a frame of ${length} bytes where at most ${this.#maxPayloadBytes} may come.`,
      );
    }
    this.#payload = Buffer.allocUnsafe(length);
    return taken;
  }

  #complete(payload: Buffer): RawFrame {
    this.#headBytes = 0;
    this.#payload = undefined;
    this.#payloadBytes = 0;
    return { type: this.#head.readUInt8(TYPE_AT), payload };
  }
}

/** A frame with room for its payload, which the caller fills from HEAD_BYTES on. */
export function allocateFrame(type: number, payloadBytes: number): Buffer {
  const frame = Buffer.allocUnsafe(HEAD_BYTES + payloadBytes);
  frame.writeUInt32BE(payloadBytes, 0);
  frame.writeUInt8(type, TYPE_AT);
  return frame;
}
