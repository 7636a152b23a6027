/**
 * A target's side of a move, in its data worker.
 *
 *   receive: one port, one peer ─▶ machine ─▶ (main thread judges it, `place`, launches QEMU, `feed`)
 *   ─▶ ready ─▶ images, overlay and QEMU fill as it comes ─▶ arrived: overlay closed, QEMU has it all
 *
 * The source hears `ready` only when QEMU is there to be fed. On failure the connection is over and
 * the source knows why; images, overlay and QEMU are then of no use.
 */

import { capDelayMs } from '../cap-delay.ts';
import type { PeerConnection } from '../peer/peer-connection.ts';
import type { Machine } from '../peer/peer-frames.ts';
import { listenForPeer, type PeerListener } from '../peer/peer-listener.ts';
import { thisThread } from '../thread-priority.ts';
import type { VmImages } from '../transfer/areas.ts';
import type { ChunkSource } from '../transfer/chunk-filler.ts';
import { type Arrival, Receiver } from '../transfer/receiver.ts';
import type { DataEvent, Json, PlaceData, ReceiveData } from './data-commands.ts';
import type { ImageSet } from './image-set.ts';
import { LandingSite } from './landing-site.ts';

export interface ReceivingParts {
  readonly images: ImageSet;
  readonly store: ChunkSource | undefined;
  readonly emit: (event: DataEvent) => void;
}

export class ReceivingRole {
  readonly #parts: ReceivingParts;
  readonly #end = new AbortController();
  readonly #site: LandingSite;
  #listener: PeerListener | undefined;
  #receiver: Receiver | undefined;
  #machine: Machine | undefined;

  constructor(parts: ReceivingParts) {
    this.#parts = parts;
    this.#site = new LandingSite(parts.images, (why) => this.hangUp(why));
  }

  async receive(request: ReceiveData): Promise<{ readonly port: number }> {
    const { identity, expected, ports, deadlineMs } = request;
    const limit = AbortSignal.timeout(capDelayMs(deadlineMs - Date.now()));
    const signal = AbortSignal.any([this.#end.signal, limit]);
    this.#listener = await listenForPeer({ identity, expected, ports, signal });
    void this.#run(this.#listener.accepted);
    return { port: this.#listener.port };
  }

  async place(request: PlaceData): Promise<void> {
    await this.#site.place(request);
  }

  /** QEMU listens there for the machine. */
  async feed(socketPath: string): Promise<void> {
    const machine = this.#machine;
    if (machine === undefined) throw new RangeError('no machine is known yet');
    const { ramSectionId } = machine;
    const prologue = Buffer.from(machine.prologue, 'base64');
    await this.#site.feed(socketPath, { prologue, ramSectionId });
  }

  async sendLoaded(): Promise<void> {
    await this.#receiver?.sendLoaded();
  }

  async tell(message: Json): Promise<void> {
    if (this.#receiver === undefined) throw new RangeError('no source is connected');
    await this.#receiver.sendToken(message);
  }

  get fromStoreBytes(): number {
    return this.#receiver?.figures.fromStoreBytes ?? 0;
  }

  hangUp(why: string): void {
    this.#end.abort(new Error(why));
    this.#listener?.close();
    this.#site.giveUp(why);
    this.#receiver?.abort(why);
  }

  /** The move is over for good: the connection ends in good order. */
  close(): void {
    this.#receiver?.close();
  }

  async #run(accepted: Promise<PeerConnection>): Promise<void> {
    const { emit } = this.#parts;
    try {
      const connection = await accepted;
      connection.ended.addEventListener('abort', () => {
        emit({
          kind: 'hung-up',
          of: 'arrival',
          why: connection.cause?.message ?? 'the connection is over',
        });
      });
      const receiver = new Receiver({
        connection,
        open: (machine) => this.#open(machine),
        store: this.#parts.store,
        onFilled: () => this.#site.poke(),
        passOn: () => this.#passOn(),
        onDeviceState: (piece) => this.#passOnDevices(piece),
        onToken: (message) => emit({ kind: 'told', message }),
      });
      this.#receiver = receiver;
      await this.#conclude(await receiver.arrived, receiver);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.hangUp(why);
      emit({ kind: 'hung-up', of: 'arrival', why });
    }
  }

  /** Resolves, and with it the source hears `ready`, when QEMU is connected. */
  async #open(machine: Machine): Promise<VmImages> {
    const { images, emit } = this.#parts;
    this.#machine = machine;
    images.memory.setBlocks(machine.blocks);
    await images.disk(machine.diskBytes);
    emit({ kind: 'machine', facts: machine.facts, diskBytes: machine.diskBytes });
    await this.#site.fed;
    return images.both;
  }

  /** Somebody waits for the answer, and will stop the guest before long. */
  async #passOn(): Promise<void> {
    thisThread.hurry();
    await this.#site.passOn();
  }

  /** Before the end is here: QEMU loads while the source still saves. */
  #passOnDevices(piece: Buffer): void {
    thisThread.hurry();
    this.#site.devices(piece);
  }

  async #conclude({ deviceState, isPassedOn }: Arrival, receiver: Receiver): Promise<void> {
    if (!isPassedOn) this.#site.devices(deviceState);
    await this.#site.conclude();
    const { fromPeerBytes, fromStoreBytes } = receiver.figures;
    const figures = {
      bytesFromSource: fromPeerBytes,
      bytesFromStore: fromStoreBytes,
      bytesLeft: 0,
    };
    this.#parts.emit({ kind: 'moving', figures });
    this.#parts.emit({ kind: 'arrived' });
  }
}
