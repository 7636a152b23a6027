/**
 * The target's side of a move: fills images with what the peer sends and what the store has.
 *
 *   machine ─▶ images opened ─▶ ready      layout ─▶ zeros, chunks to fetch     units ─▶ images
 *   end ─▶ complete when: every range was announced, none is awaited from the store, all that was
 *          missing is answered, and the counts of `end` are what arrived
 *
 *   device-state ─▶ passed on as it comes, when by the first of it nothing else is awaited
 *   settle ─▶ settled, when nothing is awaited from the store and all that came is passed on
 *
 * Completeness is told once, by `arrived`. After it only token messages come. On any failure the
 * connection is over, the source has been told why where it still listens, `arrived` rejects with the
 * typed cause, and the images are of no use.
 */

import type { PeerConnection } from '../peer/peer-connection.ts';
import { PeerAbortedError, PeerProtocolError } from '../peer/peer-errors.ts';
import {
  type End,
  type LayoutBatch,
  MAX_DEVICE_STATE_BYTES,
  type Machine,
  type PeerFrame,
  type UnitsFrame,
  type ZeroUnitsFrame,
} from '../peer/peer-frames.ts';
import { type Area, areasOf, type VmImages } from './areas.ts';
import { Arrivals } from './arrivals.ts';
import {
  ChunkFiller,
  type ChunkSource,
  DEFAULT_FILL_LIMITS,
  type FillLimits,
} from './chunk-filler.ts';
import { eachPlace, LayoutProgress } from './layout.ts';
import { MissingRanges } from './missing-ranges.ts';

const PROGRESS_MS = 200;

export interface ReceiverOptions {
  readonly connection: PeerConnection;
  /** Checks the machine and makes images of its blocks, all as in base; a rejection ends the move. */
  readonly open: (machine: Machine) => Promise<VmImages>;
  /** Undefined: there is none, everything comes from the peer. */
  readonly store: ChunkSource | undefined;
  /** Something in the images may have changed. */
  readonly onFilled: () => void;
  /** Resolves when what is in the images by now is wherever they are passed on to. */
  readonly passOn?: () => Promise<void>;
  /**
   * All but the devices is in the images: each piece of their state, in its order, before `arrived`.
   * Never called where something was still awaited; what came is of no use when `arrived` rejects.
   */
  readonly onDeviceState?: (piece: Buffer) => void;
  readonly onToken: (message: unknown) => void;
  readonly limits?: FillLimits;
}

export interface Arrival {
  readonly machine: Machine;
  readonly images: VmImages;
  readonly deviceState: Buffer;
  /** `onDeviceState` was given all of it already. */
  readonly isPassedOn: boolean;
}

export interface ReceiverFigures {
  readonly fromPeerBytes: number;
  readonly fromStoreBytes: number;
  readonly storeRangesLeft: number;
}

/** What there is once the machine is known. */
interface Filling {
  readonly machine: Machine;
  readonly images: VmImages;
  readonly areas: ReadonlyMap<number, Area>;
  readonly arrivals: Arrivals;
  readonly filler: ChunkFiller;
  readonly layout: LayoutProgress;
}

export class Receiver {
  readonly #options: ReceiverOptions;
  readonly #connection: PeerConnection;
  readonly #arrived = Promise.withResolvers<Arrival>();
  readonly #missing: MissingRanges;
  readonly #progress: NodeJS.Timeout;
  #filling: Filling | undefined;
  #deviceState: Buffer[] = [];
  #deviceStateBytes = 0;
  #isPassingOn = false;
  #units = 0;
  #zeroUnits = 0;
  #fromStoreBytes = 0;
  #end: End | undefined;
  #isComplete = false;
  #isSettling = false;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#connection = options.connection;
    this.#arrived.promise.catch(() => {});
    this.#missing = new MissingRanges(options.connection, () => this.#lookSettled());
    this.#progress = setInterval(() => this.#tellProgress(), PROGRESS_MS);
    this.#connection.ended.addEventListener('abort', () => this.#over());
    if (this.#connection.cause === undefined) void this.#listen();
    else this.#over();
  }

  /** All of the machine is in the images. Rejects with the connection's cause. */
  get arrived(): Promise<Arrival> {
    return this.#arrived.promise;
  }

  get figures(): ReceiverFigures {
    return {
      fromPeerBytes: this.#connection.receivedBytes,
      fromStoreBytes: this.#fromStoreBytes,
      storeRangesLeft: this.#filling?.filler.left ?? 0,
    };
  }

  /** The rest of what the store should have given is asked of the peer now. */
  giveUpStore(): void {
    this.#filling?.filler.giveUp();
  }

  /** Tells the source that this host's QEMU has loaded everything. */
  async sendLoaded(): Promise<void> {
    await this.#connection.send({ kind: 'loaded' });
  }

  async sendToken(message: Extract<PeerFrame, { kind: 'token' }>['message']): Promise<void> {
    await this.#connection.send({ kind: 'token', message });
  }

  /** Gives the move up and tells the source why. */
  abort(why: string): void {
    this.#connection.fail(new PeerAbortedError(why));
  }

  close(): void {
    this.#connection.close();
  }

  async #listen(): Promise<void> {
    try {
      for (;;) await this.#hear(await this.#connection.next());
    } catch (cause) {
      // Without effect where the connection is over: it has its own cause.
      this.#fail(cause);
    }
  }

  async #hear(frame: PeerFrame): Promise<void> {
    if (frame.kind === 'token') return this.#options.onToken(frame.message);
    if (frame.kind === 'machine') return await this.#open(frame);
    const filling = this.#filling;
    if (filling === undefined) throw wrong(`says ${frame.kind} before what machine it is`);
    if (frame.kind === 'end') return await this.#takeEnd(filling, frame);
    if (this.#isComplete) throw wrong(`says ${frame.kind} after the end`);
    if (frame.kind === 'layout') return await this.#takeLayout(filling, frame);
    if (frame.kind === 'settle') return this.#takeSettle();
    if (frame.kind === 'device-state') return await this.#takeState(filling, frame.piece);
    if (this.#isPassingOn) throw wrong(`says ${frame.kind} after the devices' state`);
    if (frame.kind === 'units') await this.#takeUnits(filling, frame);
    else if (frame.kind === 'zero-units') await this.#takeZeros(filling, frame);
    else throw wrong(`says ${frame.kind}, which only a target does`);
    this.#options.onFilled();
  }

  async #open(machine: Machine): Promise<void> {
    if (this.#filling !== undefined) throw wrong('announces two machines');
    const images = await this.#options.open(machine);
    const areas = areasOf(images);
    if (!isOfMachine(areas, machine))
      throw new PeerAbortedError('The images are of another machine.');
    const arrivals = new Arrivals(areas);
    this.#filling = {
      ...{ machine, images, arrivals },
      areas: new Map(areas.map((area) => [area.id, area])),
      layout: new LayoutProgress(new Map(areas.map(({ id, ranges }) => [id, ranges]))),
      filler: new ChunkFiller({
        source: this.#options.store,
        arrivals,
        limits: this.#options.limits ?? DEFAULT_FILL_LIMITS,
        onFilled: (bytes) => this.#filled(bytes),
        onMissing: (area, range) => this.#missing.add(area.id, range),
        onBroken: (error) => this.#fail(error),
      }),
    };
    await this.#connection.send({ kind: 'ready' });
  }

  async #takeLayout({ areas, layout, filler, arrivals }: Filling, batch: LayoutBatch) {
    const area = areas.get(batch.area);
    if (area === undefined || !layout.accept(batch))
      throw wrong('lays ranges out that are not there');
    let range = batch.first;
    for (const place of eachPlace(batch.runs)) {
      if (place.kind === 'zero') await arrivals.layoutZero(area, range);
      else if (place.kind === 'chunk') filler.add({ area, range, ref: place.ref });
      range += 1;
    }
    this.#options.onFilled();
    this.#judge();
    this.#lookSettled();
  }

  async #takeUnits({ areas, arrivals }: Filling, frame: UnitsFrame): Promise<void> {
    const area = areas.get(frame.area);
    if (area?.unitBytes !== frame.unitBytes) throw wrong('sends units of another size');
    const { unitBytes } = area;
    const waits: Promise<void>[] = [];
    for (const [place, unit] of frame.units.entries()) {
      if (unit >= area.units) throw wrong(`sends what is beyond ${area.name}`);
      const content = frame.content.subarray(place * unitBytes, (place + 1) * unitBytes);
      const wait = arrivals.peerContent(area, { unit, content });
      if (wait !== undefined) waits.push(wait);
    }
    await Promise.all(waits);
    this.#units += frame.units.length;
  }

  async #takeZeros({ areas, arrivals }: Filling, frame: ZeroUnitsFrame): Promise<void> {
    const area = areas.get(frame.area);
    for (const { first, count } of frame.runs) {
      if (area === undefined || first + count > area.units) throw wrong('clears what is not there');
      for (let unit = first; unit < first + count; unit += 1) {
        const wait = arrivals.peerZero(area, unit);
        if (wait !== undefined) await wait;
      }
      this.#zeroUnits += count;
    }
  }

  async #takeState({ arrivals, layout, filler }: Filling, piece: Buffer): Promise<void> {
    if (this.#deviceStateBytes === 0) {
      await arrivals.settled();
      const isAllHere = layout.isComplete && filler.left === 0 && this.#missing.asked === 0;
      this.#isPassingOn = isAllHere && this.#options.onDeviceState !== undefined;
    }
    this.#deviceStateBytes += piece.length;
    if (this.#deviceStateBytes > MAX_DEVICE_STATE_BYTES) throw wrong('has too much device state');
    this.#deviceState.push(piece);
    if (this.#isPassingOn) this.#options.onDeviceState?.(piece);
  }

  #takeSettle(): void {
    if (this.#isSettling) throw wrong('asks again before it was answered');
    this.#isSettling = true;
    this.#lookSettled();
  }

  /** Answers once nothing is awaited; what comes meanwhile may be passed on as well. */
  #lookSettled(): void {
    const filling = this.#filling;
    if (!this.#isSettling || filling === undefined || this.#missing.isAsking) return;
    if (!filling.layout.isComplete || filling.filler.left > 0) return;
    this.#isSettling = false;
    this.#settle(filling).catch((cause: unknown) => this.#fail(cause));
  }

  async #settle({ arrivals }: Filling): Promise<void> {
    await arrivals.settled();
    await this.#options.passOn?.();
    await this.#connection.send({ kind: 'settled' });
  }

  async #takeEnd({ arrivals }: Filling, end: End): Promise<void> {
    const isWhole =
      end.units === this.#units &&
      end.zeroUnits === this.#zeroUnits &&
      end.deviceStateBytes === this.#deviceStateBytes &&
      end.answeredRanges <= this.#missing.asked;
    if (!isWhole) throw wrong('counts what did not arrive');
    await arrivals.settled();
    this.#end = end;
    this.#judge();
  }

  #filled(bytes: number): void {
    this.#fromStoreBytes += bytes;
    this.#options.onFilled();
    this.#judge();
    this.#lookSettled();
  }

  /** Tells of completeness, once. */
  #judge(): void {
    const filling = this.#filling;
    if (filling === undefined || this.#isComplete || this.#end === undefined) return;
    if (!filling.layout.isComplete || filling.filler.left > 0) return;
    if (this.#end.answeredRanges !== this.#missing.asked) return;
    this.#isComplete = true;
    this.#quiet();
    const { machine, images } = filling;
    const deviceState = Buffer.concat(this.#deviceState);
    this.#arrived.resolve({ machine, images, deviceState, isPassedOn: this.#isPassingOn });
  }

  #tellProgress(): void {
    if (this.#filling === undefined) return;
    const { fromPeerBytes, fromStoreBytes, storeRangesLeft } = this.figures;
    const progress = { receivedBytes: fromPeerBytes, fromStoreBytes, storeRangesLeft };
    void this.#connection.send({ kind: 'progress', ...progress }).catch(() => {});
  }

  #fail(cause: unknown): void {
    const message = cause instanceof Error ? cause.message : 'The target cannot go on.';
    this.#connection.fail(
      cause instanceof PeerProtocolError ? cause : new PeerAbortedError(message, { cause }),
    );
  }

  #quiet(): void {
    clearInterval(this.#progress);
    this.#filling?.filler.stop();
  }

  #over(): void {
    this.#quiet();
    this.#arrived.reject(this.#connection.cause);
  }
}

function isOfMachine(areas: readonly Area[], { blocks, diskBytes }: Machine): boolean {
  const wanted = [...blocks.map(({ sizeBytes }) => sizeBytes), diskBytes];
  return (
    areas.length === wanted.length &&
    areas.every(({ sizeBytes, name }, place) => {
      return sizeBytes === wanted[place] && name === (blocks[place]?.name ?? name);
    })
  );
}

function wrong(what: string): PeerProtocolError {
  return new PeerProtocolError(`The source ${what}.`);
}
