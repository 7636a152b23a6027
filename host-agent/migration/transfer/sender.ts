/**
 * The source's side of a move: says what is where, then sends what only this host has.
 *
 *   start()    machine → (ready) → layout; what is with the peer only is marked as to be sent
 *   round()    as often as wanted, while the guest runs: marked units, coldest ranges first
 *   settle()   the target has done all that its last rounds gave it to do
 *   finish()   guest stopped: everything left, then the devices' state as it comes, the end
 *   loaded()   the target has it all in its QEMU
 *
 * What changes after `start` marks itself, through the image's own ChangeSets, so a unit is sent until
 * its last content is. Ranges that the store did not give the target (`missing`) are marked like any
 * other; after the end they are sent at once, with another end.
 *
 * On any failure the connection is over, its typed cause is what every call rejects with, and this
 * side's images are as they were: the VM can run on here.
 */
import { type ContentEncoding, DEFAULT_ENCODING } from '../peer/content-encoding.ts';
import type { PeerConnection } from '../peer/peer-connection.ts';
import { PeerAbortedError, PeerProtocolError } from '../peer/peer-errors.ts';
import {
  DEVICE_STATE_PIECE_BYTES,
  MAX_DEVICE_STATE_BYTES,
  type Machine,
  type Missing,
  type PeerFrame,
  type Progress,
} from '../peer/peer-frames.ts';
import { type Area, type AreaWatch, areasOf, unitsOf, type VmImages, watchAreas } from './areas.ts';
import { toBatches, type VmLayout } from './layout.ts';
import { Outbox } from './outbox.ts';
import { orderColdestFirst, type PendingRange, rangesOf } from './send-order.ts';
import { SendRate } from './send-rate.ts';

export interface SenderOptions {
  readonly connection: PeerConnection;
  readonly images: VmImages;
  /** Its blocks are the images', in their order. */
  readonly machine: Machine;
  /** Called once, in `start`, when changes are watched already. */
  readonly layout: () => VmLayout;
  readonly onToken: (message: unknown) => void;
  readonly onProgress?: (progress: Progress) => void;
  readonly encoding?: ContentEncoding;
}

/** Of the source's stream, when it has ended. */
export interface SourceEnd {
  readonly prologue: Buffer;
  /** In pieces of any size. A rejection ends the move. */
  readonly deviceState: Iterable<Buffer> | AsyncIterable<Buffer>;
}

export interface RoundResult {
  /** On the wire. */
  readonly sentBytes: number;
  /** Marked and not sent; grows while the guest writes. */
  readonly leftBytes: number;
  readonly ms: number;
}

export interface SenderFigures {
  readonly sentBytes: number;
  readonly leftBytes: number;
  /** Of the last rounds; 0 before the first. */
  readonly bytesPerSecond: number;
  readonly target: Progress | undefined;
}

export class Sender {
  readonly #options: SenderOptions;
  readonly #connection: PeerConnection;
  readonly #areas: readonly Area[];
  readonly #outbox: Outbox;
  readonly #rate = new SendRate();
  readonly #ready = Promise.withResolvers<void>();
  readonly #loaded = Promise.withResolvers<void>();
  #settled: PromiseWithResolvers<void> | undefined;
  /** How often each range was sent, by area: what had to go again is hot, also on a disk. */
  readonly #sends = new Map<Area, Uint16Array>();
  #watch: AreaWatch | undefined;
  #target: Progress | undefined;
  #answeredRanges = 0;
  #isFinishing = false;
  #deviceStateBytes = 0;
  /** Rounds and ends follow each other. */
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#connection = options.connection;
    this.#areas = areasOf(options.images);
    for (const area of this.#areas) this.#sends.set(area, new Uint16Array(area.ranges));
    this.#outbox = new Outbox(options.connection, options.encoding ?? DEFAULT_ENCODING);
    this.#ready.promise.catch(() => {});
    this.#loaded.promise.catch(() => {});
    this.#connection.ended.addEventListener('abort', () => this.#over());
    if (this.#connection.cause === undefined) void this.#listen();
    else this.#over();
  }

  get figures(): SenderFigures {
    return {
      sentBytes: this.#connection.sentBytes,
      leftBytes: this.#watch?.markedBytes() ?? 0,
      bytesPerSecond: this.#rate.bytesPerSecond,
      target: this.#target,
    };
  }

  /** Resolves when the target knows what is where. The signal ends the move. */
  async start(signal: AbortSignal): Promise<void> {
    await this.#unless(signal, async () => {
      await this.#connection.send({ kind: 'machine', ...this.#options.machine });
      await this.#ready.promise;
      const watch = watchAreas(this.#options.images, { everything: false });
      this.#watch = watch;
      const layout = this.#options.layout();
      this.#markWhatOnlyWeHave(watch, layout);
      for (const area of layout) {
        for (const batch of toBatches(area)) {
          await this.#connection.send({ kind: 'layout', ...batch });
        }
      }
    });
  }

  /**
   * Sends marked units until `limitBytes` are on their way or none is left. `maxHeat`: ranges that have
   * changed more often, or were sent and have changed since, stay marked.
   */
  async round(
    limitBytes: number,
    { maxHeat = Number.POSITIVE_INFINITY }: { readonly maxHeat?: number } = {},
  ): Promise<RoundResult> {
    return await this.#inTurn(() => this.#sendRound(limitBytes, maxHeat));
  }

  /**
   * Resolves when what was sent so far is in the target's QEMU and overlay and nothing is awaited from
   * the store; `missing` ranges are marked by then. One caller at a time. The signal ends the move.
   */
  async settle(signal: AbortSignal): Promise<void> {
    await this.#unless(signal, async () => {
      const settled = Promise.withResolvers<void>();
      settled.promise.catch(() => {});
      this.#settled = settled;
      await this.#connection.send({ kind: 'settle' });
      await settled.promise;
    });
  }

  /**
   * The guest stands still and its last pages and clusters are in the images. Resolves when all is on
   * its way; what the target misses then is sent without further calls.
   */
  async finish({ prologue, deviceState }: SourceEnd): Promise<void> {
    if (prologue.toString('base64') !== this.#options.machine.prologue) {
      this.#connection.fail(new PeerAbortedError('The machine is not the one that was announced.'));
    }
    this.#isFinishing = true;
    await this.#inTurn(() => this.#conclude(deviceState));
  }

  /** The target's QEMU has loaded everything. The signal ends the move. */
  async loaded(signal: AbortSignal): Promise<void> {
    await this.#unless(signal, () => this.#loaded.promise);
  }

  async sendToken(message: Extract<PeerFrame, { kind: 'token' }>['message']): Promise<void> {
    await this.#connection.send({ kind: 'token', message });
  }

  /** Gives the move up and tells the target why. */
  abort(why: string): void {
    this.#connection.fail(new PeerAbortedError(why));
  }

  /** Ends the connection in good order. */
  close(): void {
    this.#connection.close();
  }

  async #sendRound(limitBytes: number, maxHeat = Number.POSITIVE_INFINITY): Promise<RoundResult> {
    const watch = this.#watch;
    if (watch === undefined) throw new PeerAbortedError('Nothing can be sent before the start.');
    const beganMs = performance.now();
    const before = this.#connection.sentBytes;
    for (const { area: id, range, heat } of this.#pendingColdestFirst(watch)) {
      if (heat > maxHeat) break;
      if (this.#connection.sentBytes - before >= limitBytes) break;
      const area = this.#areas.find((one) => one.id === id);
      if (area !== undefined) await this.#sendRange(area, { range, watch });
    }
    await this.#outbox.flush();
    const sentBytes = this.#connection.sentBytes - before;
    const ms = performance.now() - beganMs;
    this.#rate.add(sentBytes, ms);
    return { sentBytes, leftBytes: watch.markedBytes(), ms };
  }

  async #sendRange(
    area: Area,
    { range, watch }: { readonly range: number; readonly watch: AreaWatch },
  ): Promise<void> {
    const changes = watch.changesOf(area);
    const sends = this.#sends.get(area);
    if (sends !== undefined) sends[range] = Math.min((sends[range] ?? 0) + 1, 0xffff);
    const { first, end } = unitsOf(area, range);
    for (let unit = first; unit < end; unit += 1) {
      if (!changes.has(unit)) continue;
      // Before it is read: what changes in between is marked again.
      changes.clear(unit);
      const wait = this.#outbox.add(area, unit);
      if (wait !== undefined) await wait;
    }
  }

  #pendingColdestFirst(watch: AreaWatch): readonly PendingRange[] {
    const pending = this.#areas.flatMap((area) => {
      const ranges = rangesOf(watch.changesOf(area), area.unitsPerRange);
      const sends = this.#sends.get(area);
      return ranges.map((range) => ({
        area: area.id,
        range,
        heat: area.heatOf(range) + (sends?.[range] ?? 0),
      }));
    });
    return orderColdestFirst(pending);
  }

  async #conclude(deviceState: SourceEnd['deviceState']): Promise<void> {
    // Before the devices, which the target passes on as they come.
    while (this.figures.leftBytes > 0) await this.#sendRound(Number.POSITIVE_INFINITY);
    for await (const piece of deviceState) await this.#sendState(piece);
    // No await between the last look and the end, which says that nothing is left.
    while (this.figures.leftBytes > 0) await this.#sendRound(Number.POSITIVE_INFINITY);
    await this.#connection.send({
      kind: 'end',
      units: this.#outbox.sentUnits,
      zeroUnits: this.#outbox.sentZeroUnits,
      deviceStateBytes: this.#deviceStateBytes,
      answeredRanges: this.#answeredRanges,
    });
  }

  async #sendState(state: Buffer): Promise<void> {
    this.#deviceStateBytes += state.length;
    if (this.#deviceStateBytes > MAX_DEVICE_STATE_BYTES) {
      throw new PeerAbortedError("The devices' state is too long to be moved.");
    }
    for (let at = 0; at < state.length; at += DEVICE_STATE_PIECE_BYTES) {
      const piece = state.subarray(at, at + DEVICE_STATE_PIECE_BYTES);
      await this.#connection.send({ kind: 'device-state', piece });
    }
  }

  #markWhatOnlyWeHave(watch: AreaWatch, layout: VmLayout): void {
    for (const { area: id, ranges } of layout) {
      const area = this.#areas.find((one) => one.id === id);
      if (area === undefined) continue;
      const changes = watch.changesOf(area);
      for (const [range, place] of ranges.entries()) {
        if (place.kind === 'peer') markRange(area, { range, watch });
        else if (place.kind === 'chunk') for (const unit of place.stale) changes.mark(unit);
      }
    }
  }

  async #listen(): Promise<void> {
    try {
      for (;;) this.#hear(await this.#connection.next());
    } catch {
      // The connection is over and knows why.
    }
  }

  #hear(frame: PeerFrame): void {
    if (frame.kind === 'ready') this.#ready.resolve();
    else if (frame.kind === 'loaded') this.#loaded.resolve();
    else if (frame.kind === 'settled') this.#settled?.resolve();
    else if (frame.kind === 'missing') this.#answer(frame);
    else if (frame.kind === 'token') this.#options.onToken(frame.message);
    else if (frame.kind === 'progress') {
      this.#target = frame;
      this.#options.onProgress?.(frame);
    } else {
      this.#connection.fail(new PeerProtocolError(`A target does not say ${frame.kind}.`));
    }
  }

  #answer({ area: id, ranges }: Missing): void {
    const area = this.#areas.find((one) => one.id === id);
    const watch = this.#watch;
    if (area === undefined || watch === undefined || ranges.some((one) => one >= area.ranges)) {
      this.#connection.fail(new PeerProtocolError('The target misses what was never announced.'));
      return;
    }
    for (const range of ranges) markRange(area, { range, watch });
    this.#answeredRanges += ranges.length;
    if (this.#isFinishing) void this.#inTurn(() => this.#conclude([])).catch(() => {});
  }

  /** One after the other, whoever calls. A failure of this side ends the connection. */
  async #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#work.then(task);
    this.#work = turn.catch(() => {});
    try {
      const result = await turn;
      // With nothing to send, the end of the connection would go by unseen.
      if (this.#connection.cause !== undefined) throw this.#connection.cause;
      return result;
    } catch (cause) {
      this.#connection.fail(new PeerAbortedError('The source cannot send.', { cause }));
      throw this.#connection.cause ?? cause;
    }
  }

  async #unless<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const stop = () => this.abort('The source gave up waiting.');
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    try {
      return await task();
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  #over(): void {
    const { cause } = this.#connection;
    this.#ready.reject(cause);
    this.#loaded.reject(cause);
    this.#settled?.reject(cause);
    this.#watch?.end();
  }
}

/** What is `base` is with the target already. */
function markRange(
  area: Area,
  { range, watch }: { readonly range: number; readonly watch: AreaWatch },
): void {
  const changes = watch.changesOf(area);
  const { first, end } = unitsOf(area, range);
  for (let unit = first; unit < end; unit += 1) {
    if (area.stateOf(unit) !== 'base') changes.mark(unit);
  }
}
