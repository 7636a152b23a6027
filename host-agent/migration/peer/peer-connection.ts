/**
 * One authenticated connection between two agents: frames in, frames out, and one end.
 *
 *   open ──close()──────────────▶ over   cause: closed here
 *     ├──peer ends, breaks, abort▶ over   what came before it is still read by next()
 *     └──fail(cause)────────────▶ over   the peer is told `abort` first, where it still listens
 *
 * Invariants: the first cause wins, and every wait ends with it; frames keep their order; what is
 * buffered in either direction is bounded, by back-pressure on the socket; a peer from which nothing
 * comes, or that takes nothing, is given up after a named number of ticks. Ticks are counted and not
 * clocks compared: a thread that was busy for long does not blame its peer.
 */
import type { Duplex } from 'node:stream';
import type { ArchitectError } from '../../protocol/errors.ts';
import { FrameParser, type RawFrame } from './frame-codec.ts';
import {
  PeerAbortedError,
  PeerLostError,
  PeerProtocolError,
  PeerRefusedError,
} from './peer-errors.ts';
import {
  decodeFrame,
  encodeFrame,
  MAX_HELLO_BYTES,
  MAX_PAYLOAD_BYTES,
  type PeerFrame,
  shorten,
} from './peer-frames.ts';

export interface ConnectionLimits {
  readonly tickMs: number;
  /** Ticks without one byte from the peer. It sends a ping with every tick. */
  readonly quietTicks: number;
  /** Ticks in which the peer takes nothing of what waits for it. */
  readonly stallTicks: number;
  /** Time for the other side to read the last words. */
  readonly lingerMs: number;
  /** Frames that nobody has asked for yet; the socket is not read beyond. */
  readonly maxUnreadBytes: number;
  /** Bytes that the socket has not taken yet; `send` waits beyond. */
  readonly maxUnsentBytes: number;
}

export const DEFAULT_LIMITS: ConnectionLimits = {
  tickMs: 1_000,
  quietTicks: 10,
  stallTicks: 15,
  lingerMs: 2_000,
  maxUnreadBytes: 8 * 1024 * 1024,
  maxUnsentBytes: 2 * 1024 * 1024,
};

interface Unread {
  readonly frame: PeerFrame;
  readonly bytes: number;
}

interface Waiter {
  readonly resolve: (frame: PeerFrame) => void;
  readonly reject: (cause: ArchitectError) => void;
}

export class PeerConnection {
  readonly #socket: Duplex;
  readonly #limits: ConnectionLimits;
  readonly #parser = new FrameParser(MAX_HELLO_BYTES);
  readonly #ended = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #cause: ArchitectError | undefined;
  #unread: Unread[] = [];
  #unreadBytes = 0;
  #waiter: Waiter | undefined;
  #drain: PromiseWithResolvers<void> | undefined;
  #quietTicks = 0;
  #stallTicks = 0;
  #waitingBytes = 0;
  #receivedBytes = 0;
  #sentBytes = 0;

  /** Owns the socket from now on. Frames are short until `trust` is called. */
  constructor(socket: Duplex, limits: ConnectionLimits = DEFAULT_LIMITS) {
    this.#socket = socket;
    this.#limits = limits;
    socket.on('data', (piece: Buffer) => this.#take(piece));
    socket.on('drain', () => this.#drained());
    socket.on('error', (cause) => this.#over(lost(`broke: ${cause.message}`, cause)));
    socket.on('end', () => this.#over(lost(this.#howItEnded())));
    socket.on('close', () => this.#over(lost('was closed')));
    this.#timer = setInterval(() => this.#tick(), limits.tickMs);
  }

  /** Aborts when the connection is over; its reason is the typed cause. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  get cause(): ArchitectError | undefined {
    return this.#cause;
  }

  /** On the wire, heads of frames included. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** The peer has proven who it is: its frames may have their full length. */
  trust(): void {
    this.#parser.maxPayloadBytes = MAX_PAYLOAD_BYTES;
  }

  /** Resolves when there is room for more, and not before. Rejects with the connection's cause. */
  async send(frame: PeerFrame): Promise<void> {
    if (this.#cause !== undefined) throw this.#cause;
    this.#write(frame);
    if (this.#socket.writableLength <= this.#limits.maxUnsentBytes) return;
    this.#drain ??= Promise.withResolvers();
    await this.#drain.promise;
  }

  /**
   * The next frame but pings, one caller at a time. Rejects with the connection's cause once all that
   * came before it is read; an `abort` of the peer is such a cause.
   */
  next(): Promise<PeerFrame> {
    const unread = this.#unread.shift();
    if (unread !== undefined) {
      this.#unreadBytes -= unread.bytes;
      if (this.#unreadBytes <= this.#limits.maxUnreadBytes / 2) this.#socket.resume();
      return Promise.resolve(unread.frame);
    }
    if (this.#cause !== undefined) return Promise.reject(this.#cause);
    const { promise, resolve, reject } = Promise.withResolvers<PeerFrame>();
    this.#waiter = { resolve, reject };
    return promise;
  }

  /** Gives up, and tells the peer why where it still listens. Does nothing after the end. */
  fail(cause: ArchitectError): void {
    if (this.#cause !== undefined) return;
    this.#forget();
    this.#write({ kind: 'abort', why: shorten(cause.message) });
    this.#over(cause);
  }

  /** Ends it in good order, after what was sent. */
  close(): void {
    if (this.#cause !== undefined) return;
    this.#forget();
    this.#over(new PeerAbortedError('The connection to the other agent was closed here.'));
  }

  /** Sends last words and ends, without `abort`. */
  refuse(why: string): void {
    if (this.#cause !== undefined) return;
    this.#write({ kind: 'refuse', why: shorten(why) });
    this.close();
  }

  #write(frame: PeerFrame): void {
    const bytes = encodeFrame(frame);
    this.#sentBytes += bytes.length;
    this.#socket.write(bytes);
  }

  #take(piece: Buffer): void {
    this.#receivedBytes += piece.length;
    this.#quietTicks = 0;
    if (this.#cause !== undefined) return;
    try {
      this.#parser.push(piece, (raw) => this.#arrive(raw));
    } catch (error) {
      this.fail(error instanceof PeerProtocolError ? error : garbled(error));
    }
    if (this.#unreadBytes > this.#limits.maxUnreadBytes) this.#socket.pause();
  }

  #arrive(raw: RawFrame): void {
    if (this.#cause !== undefined) return;
    const frame = decodeFrame(raw);
    if (frame.kind === 'ping') return;
    if (frame.kind === 'abort') this.#over(gaveUp(frame.why));
    else if (this.#waiter === undefined) this.#keep(frame, raw.payload.length);
    else {
      const { resolve } = this.#waiter;
      this.#waiter = undefined;
      resolve(frame);
    }
  }

  #keep(frame: PeerFrame, bytes: number): void {
    this.#unread.push({ frame, bytes });
    this.#unreadBytes += bytes;
  }

  #forget(): void {
    this.#unread = [];
    this.#unreadBytes = 0;
  }

  #howItEnded(): string {
    return this.#parser.isBetweenFrames ? 'was ended by it' : 'was cut in the middle of a frame';
  }

  #tick(): void {
    this.#quietTicks += this.#socket.isPaused() ? 0 : 1;
    const waiting = this.#socket.writableLength;
    this.#stallTicks = waiting > 0 && waiting === this.#waitingBytes ? this.#stallTicks + 1 : 0;
    this.#waitingBytes = waiting;
    if (this.#quietTicks > this.#limits.quietTicks) this.#over(lost('has gone silent'));
    else if (this.#stallTicks > this.#limits.stallTicks) this.#over(lost('takes nothing more'));
    else if (waiting === 0) this.#write({ kind: 'ping' });
  }

  #drained(): void {
    this.#stallTicks = 0;
    this.#drain?.resolve();
    this.#drain = undefined;
  }

  /** The end, whichever way. What waits is told; the socket gets a moment for the last words. */
  #over(cause: ArchitectError): void {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    clearInterval(this.#timer);
    this.#drain?.promise.catch(() => {});
    this.#drain?.reject(cause);
    this.#waiter?.reject(cause);
    this.#waiter = undefined;
    this.#socket.resume();
    this.#socket.end();
    const linger = setTimeout(() => this.#socket.destroy(), this.#limits.lingerMs);
    this.#socket.once('close', () => clearTimeout(linger));
    this.#ended.abort(cause);
  }
}

function lost(how: string, cause?: Error): PeerLostError {
  return new PeerLostError(`The connection to the other agent ${how}.`, { cause });
}

function gaveUp(why: string): PeerRefusedError {
  return new PeerRefusedError(`The other agent gave the move up: ${why}`, { context: { why } });
}

function garbled(cause: unknown): PeerProtocolError {
  return new PeerProtocolError('What the other agent sent cannot be read.', { cause });
}
