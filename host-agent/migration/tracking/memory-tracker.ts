/**
 * Reads the migration stream that a QEMU holds open into a memory image: the change tracker.
 *
 *            ┌────────── done, cancelled ──────────┐
 *   resting ─┴─▶ pulsing | draining | finishing ───┴──▶ ended (socket broken, stream wrong, closed)
 *
 * Resting, nothing is read: QEMU blocks in its write, and neither it nor the guest pays for tracking.
 * One reading at a time. A cancelled reading loses nothing: the next goes on where it stopped. Once
 * ended, every call rejects with what ended it. This file must not talk QMP, and never gives QEMU its
 * switch-over ack: only a guest that was stopped may leave (FACTS: QEMU resumes by itself).
 */
import type { Duplex } from 'node:stream';
import type { MemoryImage } from '../image/memory-image.ts';
import { encodePong, encodeShut } from '../stream/return-path.ts';
import { MigrationStreamError } from '../stream/stream-errors.ts';
import { PAGE_BYTES, type RamBlock } from '../stream/stream-format.ts';
import { StreamParser } from '../stream/stream-parser.ts';
import { Freshness, pageKey, type StreamRound } from './freshness.ts';

/** A first pass reads all of memory; one that takes longer than this is stuck. */
export const PULSE_LIMIT_MS = 10 * 60_000;
/** After the guest has stopped, only what is dirty and the devices are left. */
export const FINISH_LIMIT_MS = 60_000;
/** QEMU has set its threshold once its first window is over (migration.c, BUFFER_DELAY). */
const FIRST_WINDOW_MS = 100;
const PAGE_RECORD_BYTES = PAGE_BYTES + 8;
const ZERO_RECORD_BYTES = 9;
const SECTION_BYTES = 18;

/** What a target has to be told beside the memory. */
export interface StreamEnd {
  readonly prologue: Buffer;
  readonly ramSectionId: number;
  readonly deviceState: Buffer;
}

export interface PulseReport {
  /** Pages that were another than the image had, each time they came. */
  readonly changedPages: number;
  /** Pages that QEMU sent, zero or not. */
  readonly pages: number;
  readonly bytesRead: number;
  readonly rounds: number;
  readonly ms: number;
}

export interface DrainRound extends StreamRound {
  /** QEMU has begun it after the draining began; how much the others have says nothing. */
  readonly isFresh: boolean;
}

export interface TrackerSpec {
  /** The accepted connection; the tracker owns it. */
  readonly socket: Duplex;
  /** Called once with the machine's blocks; they are then set on the image. */
  readonly image: (blocks: readonly RamBlock[]) => MemoryImage;
  /** `readSocketBufferBytes()`. */
  readonly kernelBytes: number;
  /** The heat's clock, in milliseconds: never back, the same one for all trackers of an image. */
  readonly now?: () => number;
}

/** Who wants to know before the end. */
export interface FinishListener {
  /** QEMU has sent what was dirty when it looked. */
  readonly onRound: () => void;
  /** All of memory is in the image, and this much more of the devices' state has come. */
  readonly onDeviceState: (piece: Buffer) => void;
}

interface Reading {
  readonly onRound: (round: DrainRound) => void;
  readonly onDeviceState?: ((piece: Buffer) => void) | undefined;
  /** Called after each piece; settles the reading when it is done. */
  readonly look: () => void;
  readonly fail: (error: Error) => void;
}

export class MemoryTracker {
  readonly #spec: TrackerSpec;
  readonly #now: () => number;
  readonly #parser: StreamParser;
  #image: MemoryImage | undefined;
  #indexes: readonly number[] = [];
  #reading: Reading | undefined;
  #ended: Error | undefined;
  #freshness: Freshness | undefined;
  /** Of QEMU's first window. */
  #windowEndMs = Number.POSITIVE_INFINITY;
  #isWindowOver = false;
  #lastKey = -1;
  #counts = { pages: 0, changedPages: 0, rounds: 0, bytesRead: 0 };
  #round = { pages: 0, zeroPages: 0 };

  constructor(spec: TrackerSpec) {
    this.#spec = spec;
    this.#now = spec.now ?? (() => performance.now());
    this.#parser = new StreamParser({
      onBlocks: (blocks) => this.#begin(blocks),
      onPage: (block, offset, bytes) => this.#page(block, offset, bytes),
      onZeroPage: (block, offset) => this.#page(block, offset, undefined),
      onRound: () => this.#endRound(),
      onPing: (value) => void spec.socket.write(encodePong(value)),
      onCommand: () => undefined,
      onDeviceState: (piece) => this.#reading?.onDeviceState?.(piece),
    });
    const { socket } = spec;
    socket.pause();
    socket.on('data', (piece: Buffer) => this.#take(piece));
    socket.on('error', (cause) => this.#end(ended(cause.message, cause)));
    socket.on('end', () => this.#end(ended('QEMU closed it')));
    socket.on('close', () => this.#end(ended('it was closed')));
  }

  /**
   * Reads until the image has all that the guest wrote before the call (freshness.ts), then rests.
   * Rejects with the signal's reason, after PULSE_LIMIT_MS with a TimeoutError, or with
   * MigrationStreamError when the stream has ended.
   */
  async pulse(signal: AbortSignal): Promise<PulseReport> {
    const startMs = this.#now();
    const before = { ...this.#counts };
    await this.#read({
      signal: AbortSignal.any([signal, AbortSignal.timeout(PULSE_LIMIT_MS)]),
      isDone: () => this.#isWindowOver && this.#freshness?.isDone === true,
      onRound: () => undefined,
    });
    const { pages, changedPages, rounds, bytesRead } = this.#counts;
    return {
      pages: pages - before.pages,
      changedPages: changedPages - before.changedPages,
      rounds: rounds - before.rounds,
      bytesRead: bytesRead - before.bytesRead,
      ms: this.#now() - startMs,
    };
  }

  /**
   * Reads without a pause, telling of every round, until `onRound` gives 'enough'. It then resolves,
   * and reading goes on, so that QEMU has nothing in its way when the guest is stopped: `finish`
   * takes over, or `rest` ends it. An aborted signal rejects with its reason, and the tracker rests.
   */
  async drain(
    onRound: (round: DrainRound) => 'enough' | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    let isEnough = false;
    await this.#read({
      signal,
      goesOn: true,
      isDone: () => isEnough,
      onRound: (round) => {
        this.#image?.advancePulse(this.#now());
        if (onRound(round) === 'enough') isEnough = true;
      },
    });
  }

  /**
   * The guest was stopped: reads to the very end, and resolves in the moment the last byte is there.
   * QEMU then waits for `shut`. Rejects as `pulse` does, after FINISH_LIMIT_MS at the latest. A listener
   * hears of all that comes after the call; before it, QEMU may not have been told to leave.
   */
  async finish(signal: AbortSignal, listener?: FinishListener): Promise<StreamEnd> {
    await this.#read({
      signal: AbortSignal.any([signal, AbortSignal.timeout(FINISH_LIMIT_MS)]),
      isDone: () => this.#parser.isComplete,
      onRound: () => listener?.onRound(),
      onDeviceState: listener?.onDeviceState,
    });
    const { prologue, ramSectionId, deviceState } = this.#parser;
    if (ramSectionId === undefined) throw ended('it had no memory');
    return { prologue, ramSectionId, deviceState };
  }

  /** At the end of the first pulse, at the latest. */
  get hasBegun(): boolean {
    return this.#image !== undefined && this.#parser.ramSectionId !== undefined;
  }

  /** How the stream began, which a target has to be told first. Throws before it has. */
  get beginning(): Pick<StreamEnd, 'prologue' | 'ramSectionId'> {
    const { prologue, ramSectionId } = this.#parser;
    if (ramSectionId === undefined) throw ended('it has not begun');
    return { prologue, ramSectionId };
  }

  /** Lets QEMU complete: it never again runs the guest by itself. */
  shut(): void {
    this.#spec.socket.write(encodeShut());
  }

  /** QEMU's migration fails; a guest that runs goes on running, one that was stopped stays stopped. */
  close(): void {
    this.#end(ended('it was closed here'));
    this.#spec.socket.destroy();
  }

  /** Ends what a `drain` left going on. */
  rest(): void {
    if (this.#reading === undefined) this.#spec.socket.pause();
  }

  async #read(request: {
    readonly signal: AbortSignal;
    /** Reading does not stop when it is done. */
    readonly goesOn?: boolean;
    readonly isDone: () => boolean;
    readonly onRound: (round: DrainRound) => void;
    readonly onDeviceState?: Reading['onDeviceState'];
  }): Promise<void> {
    const { signal, isDone, onRound, onDeviceState, goesOn = false } = request;
    if (this.#reading !== undefined) throw new Error('the stream is being read already');
    if (this.#ended !== undefined && !isDone()) throw this.#ended;
    signal.throwIfAborted();
    this.#image?.advancePulse(this.#now());
    this.#freshness = this.#judge(0);
    const done = Promise.withResolvers<void>();
    const abort = () => done.reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    const look = () => {
      if (isDone()) done.resolve();
    };
    const { socket } = this.#spec;
    this.#reading = { onRound, onDeviceState, look, fail: done.reject };
    try {
      socket.resume();
      // The end may have come while a `drain` was left going on.
      look();
      await done.promise;
      if (!goesOn) socket.pause();
    } catch (error) {
      socket.pause();
      throw error;
    } finally {
      this.#reading = undefined;
      signal.removeEventListener('abort', abort);
    }
  }

  #take(piece: Buffer): void {
    if (this.#ended !== undefined) return;
    if (!this.#isWindowOver && performance.now() >= this.#windowEndMs) {
      this.#isWindowOver = true;
      this.#freshness = this.#judge(piece.length);
    }
    this.#counts.bytesRead += piece.length;
    try {
      this.#parser.push(piece);
    } catch (error) {
      this.#end(error instanceof Error ? error : ended(String(error)));
      this.#spec.socket.destroy();
      return;
    }
    this.#reading?.look();
  }

  #begin(blocks: readonly RamBlock[]): void {
    this.#image = this.#spec.image(blocks);
    this.#indexes = this.#image.setBlocks(blocks);
    this.#image.advancePulse(this.#now());
    this.#windowEndMs = performance.now() + FIRST_WINDOW_MS;
  }

  #page(block: number, offset: number, bytes: Buffer | undefined): void {
    const index = this.#indexes[block] ?? -1;
    const changed = bytes
      ? this.#image?.putPage(index, offset, bytes)
      : this.#image?.putZero(index, offset);
    if (changed === true) this.#counts.changedPages += 1;
    this.#counts.pages += 1;
    if (bytes) this.#round.pages += 1;
    else this.#round.zeroPages += 1;
    this.#lastKey = pageKey(block, offset);
    this.#freshness?.page(this.#lastKey);
  }

  #endRound(): void {
    const { pages, zeroPages } = this.#round;
    const bytes = SECTION_BYTES + pages * PAGE_RECORD_BYTES + zeroPages * ZERO_RECORD_BYTES;
    const isFresh = this.#isWindowOver && this.#freshness?.isFresh === true;
    this.#round = { pages: 0, zeroPages: 0 };
    this.#counts.rounds += 1;
    this.#freshness?.round({ pages, zeroPages, bytes });
    this.#reading?.onRound({ pages, zeroPages, bytes, isFresh });
  }

  #judge(takenBytes: number): Freshness {
    const { socket, kernelBytes } = this.#spec;
    const bufferedBytes = takenBytes + socket.readableLength;
    return new Freshness({ bufferedBytes, kernelBytes }, this.#lastKey);
  }

  /** The first cause is what every later call is told. */
  #end(error: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#reading?.fail(error);
  }
}

function ended(why: string, cause?: unknown): MigrationStreamError {
  return new MigrationStreamError(`The migration stream of QEMU ended: ${why}.`, { cause });
}
