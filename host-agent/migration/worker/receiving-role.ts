/**
 * A target's side of a move, in its data worker.
 *
 *   receive: one port, one peer ─▶ machine ─▶ (main thread judges it, `place`, launches QEMU, `feed`)
 *   ─▶ ready ─▶ images, overlay and QEMU fill as it comes ─▶ arrived: overlay closed, QEMU has it all
 *
 * The source hears `ready` only when QEMU is there to be fed. On failure the connection is over and
 * the source knows why; images, overlay and QEMU are then of no use.
 */

import { once } from 'node:events';
import { chown } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { OverlayFile } from '../disk/overlay-file.ts';
import { fillOverlay } from '../disk/overlay-fill.ts';
import { Feeder } from '../feed/feeder.ts';
import type { ChangeSet } from '../image/change-set.ts';
import type { PeerConnection } from '../peer/peer-connection.ts';
import { PeerAbortedError } from '../peer/peer-errors.ts';
import type { Machine } from '../peer/peer-frames.ts';
import { listenForPeer, type PeerListener } from '../peer/peer-listener.ts';
import { markSwitchover } from '../switchover-trace.ts';
import type { VmImages } from '../transfer/areas.ts';
import type { ChunkSource } from '../transfer/chunk-filler.ts';
import { type Arrival, Receiver } from '../transfer/receiver.ts';
import type { DataEvent, Json, PlaceData, ReceiveData } from './data-commands.ts';
import type { ImageSet } from './image-set.ts';

/** Clusters that are written to the overlay in one go, beside everything else. */
const FILL_CLUSTERS = 64;

export interface ReceivingParts {
  readonly images: ImageSet;
  readonly store: ChunkSource | undefined;
  readonly emit: (event: DataEvent) => void;
}

interface Place {
  readonly overlay: OverlayFile;
  readonly changes: ChangeSet;
}

export class ReceivingRole {
  readonly #parts: ReceivingParts;
  readonly #end = new AbortController();
  readonly #fed = Promise.withResolvers<Feeder>();
  #listener: PeerListener | undefined;
  #receiver: Receiver | undefined;
  #machine: Machine | undefined;
  #place: Place | undefined;
  #filling: Promise<void> = Promise.resolve();
  #isFilling = false;

  constructor(parts: ReceivingParts) {
    this.#parts = parts;
    this.#fed.promise.catch(() => undefined);
  }

  async receive(request: ReceiveData): Promise<{ readonly port: number }> {
    const { identity, expected, ports, deadlineMs } = request;
    const limit = AbortSignal.timeout(Math.max(0, deadlineMs - Date.now()));
    const signal = AbortSignal.any([this.#end.signal, limit]);
    this.#listener = await listenForPeer({ identity, expected, ports, signal });
    void this.#run(this.#listener.accepted);
    return { port: this.#listener.port };
  }

  /** Makes the overlay that QEMU will open; to be called before it is launched. */
  async place({ overlay: path, user }: PlaceData): Promise<void> {
    const { disk } = this.#parts.images.both;
    const overlay = await OverlayFile.create({ path, sizeBytes: disk.sizeBytes });
    await chown(path, user, user);
    this.#place = { overlay, changes: disk.watch() };
  }

  /** QEMU listens there for the machine. */
  async feed(socketPath: string): Promise<void> {
    const machine = this.#machine;
    if (machine === undefined) throw new RangeError('no machine is known yet');
    const socket: Socket = connect(socketPath);
    await once(socket, 'connect', { signal: this.#end.signal });
    const feeder = new Feeder({
      socket,
      image: this.#parts.images.memory,
      prologue: Buffer.from(machine.prologue, 'base64'),
      ramSectionId: machine.ramSectionId,
    });
    this.#fed.resolve(feeder);
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
    this.#fed.reject(new PeerAbortedError(why));
    this.#receiver?.abort(why);
    void this.#place?.overlay.close();
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
        onFilled: () => this.#poke(),
        passOn: () => this.#passOn(),
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
    await this.#fed.promise;
    return images.both;
  }

  async #conclude({ deviceState }: Arrival, receiver: Receiver): Promise<void> {
    markSwitchover('all received');
    const feeder = await this.#fed.promise;
    const { overlay } = this.#placed();
    const closed = this.#beginFilling()
      .then(() => overlay.finish())
      .then(() => markSwitchover('overlay closed'));
    // QEMU opens the disk for good as soon as it has loaded the devices.
    await Promise.all([closed, feeder.finish(deviceState, closed)]);
    markSwitchover('all fed');
    const { fromPeerBytes, fromStoreBytes } = receiver.figures;
    const figures = {
      bytesFromSource: fromPeerBytes,
      bytesFromStore: fromStoreBytes,
      bytesLeft: 0,
    };
    this.#parts.emit({ kind: 'moving', figures });
    this.#parts.emit({ kind: 'arrived' });
  }

  /** What came is passed on, beside the receiving. */
  #poke(): void {
    void this.#fed.promise.then((feeder) => feeder.poke()).catch(() => undefined);
    if (this.#isFilling || this.#place === undefined) return;
    this.#beginFilling().catch((error: unknown) => this.hangUp(String(error)));
  }

  /** After whatever fills the overlay already. Resolves when it has all that has come by then. */
  #beginFilling(): Promise<void> {
    this.#isFilling = true;
    const filling = this.#filling
      .then(() => this.#fillAll())
      .finally(() => {
        this.#isFilling = false;
      });
    this.#filling = filling;
    return filling;
  }

  async #fillAll(): Promise<void> {
    while ((await this.#fill()) > 0);
  }

  /** What has come is in QEMU and in the overlay. */
  async #passOn(): Promise<void> {
    const feeder = await this.#fed.promise;
    const { overlay } = this.#placed();
    const filled = this.#beginFilling().then(() => overlay.flush());
    this.#filling = filled;
    await Promise.all([feeder.settled(), filled]);
  }

  /** Gives how many clusters there were to write. */
  async #fill(): Promise<number> {
    const { overlay, changes } = this.#placed();
    const { disk: image } = this.#parts.images.both;
    return await fillOverlay(overlay, { image, changes, limit: FILL_CLUSTERS });
  }

  #placed(): Place {
    if (this.#place === undefined) throw new RangeError('the VM has no place yet');
    return this.#place;
  }
}
