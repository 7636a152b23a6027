/**
 * Where a VM comes down on this host, wherever it comes from: its images fill, and with them, at the
 * same time, the overlay that its QEMU will open and that QEMU itself.
 *
 *   place: overlay ─▶ (main thread launches QEMU) ─▶ feed: QEMU is connected ─▶ poke, whenever something
 *   came ─▶ devices: overlay closed, QEMU loads what it can ─▶ conclude: and the rest
 */
import { once } from 'node:events';
import { chown } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { OverlayFile } from '../disk/overlay-file.ts';
import { fillOverlay } from '../disk/overlay-fill.ts';
import { Feeder } from '../feed/feeder.ts';
import type { ChangeSet } from '../image/change-set.ts';
import { PeerAbortedError } from '../peer/peer-errors.ts';
import { markSwitchover } from '../switchover-trace.ts';
import type { PlaceData } from './data-commands.ts';
import type { ImageSet } from './image-set.ts';

/** Clusters that are written to the overlay in one go, beside everything else. */
const FILL_CLUSTERS = 64;

export interface StreamHead {
  /** As the QEMU that the VM comes from sent it. */
  readonly prologue: Buffer;
  readonly ramSectionId: number;
}

interface Place {
  readonly overlay: OverlayFile;
  readonly changes: ChangeSet;
}

export class LandingSite {
  readonly #images: ImageSet;
  readonly #onBroken: (why: string) => void;
  readonly #end = new AbortController();
  readonly #fed = Promise.withResolvers<Feeder>();
  readonly #state = new PassThrough();
  #passing: Promise<void> | undefined;
  #place: Place | undefined;
  #filling: Promise<void> = Promise.resolve();
  #isFilling = false;

  constructor(images: ImageSet, onBroken: (why: string) => void) {
    this.#images = images;
    this.#onBroken = onBroken;
    this.#fed.promise.catch(() => undefined);
    // Whoever reads it hears of it; written to afterwards, it would be nobody's error.
    this.#state.on('error', () => undefined);
  }

  /** Makes the overlay that QEMU will open; to be called before it is launched. */
  async place({ overlay: path, user }: PlaceData): Promise<void> {
    const { disk } = this.#images.both;
    const overlay = await OverlayFile.create({ path, sizeBytes: disk.sizeBytes });
    await chown(path, user, user);
    this.#place = { overlay, changes: disk.watch() };
  }

  /** QEMU listens there for the machine. */
  async feed(socketPath: string, head: StreamHead): Promise<void> {
    const socket: Socket = connect(socketPath);
    await once(socket, 'connect', { signal: this.#end.signal });
    this.#fed.resolve(new Feeder({ socket, image: this.#images.memory, ...head }));
  }

  /** QEMU is connected. Rejects when it is given up before. */
  get fed(): Promise<unknown> {
    return this.#fed.promise;
  }

  /** What came is passed on, beside whatever brings more. */
  poke(): void {
    void this.#fed.promise.then((feeder) => feeder.poke()).catch(() => undefined);
    if (this.#isFilling || this.#place === undefined) return;
    this.#beginFilling().catch((error: unknown) => this.#onBroken(String(error)));
  }

  /** Resolves when what has come is in QEMU and in the overlay. */
  async passOn(): Promise<void> {
    const feeder = await this.#fed.promise;
    const { overlay } = this.#placed();
    const filled = this.#beginFilling().then(() => overlay.flush());
    this.#filling = filled;
    await Promise.all([feeder.settled(), filled]);
  }

  /** All of memory and disk is in the images, and this is more of the devices' state. */
  devices(piece: Buffer): void {
    void this.#passOnDevices();
    this.#state.write(piece);
  }

  /** The devices' state is whole. Resolves when QEMU has been sent it all. */
  async conclude(): Promise<void> {
    markSwitchover('all received');
    this.#state.end();
    await this.#passOnDevices();
    markSwitchover('all fed');
  }

  giveUp(why: string): void {
    this.#end.abort(new Error(why));
    this.#fed.reject(new PeerAbortedError(why));
    this.#state.destroy(new PeerAbortedError(why));
    void this.#place?.overlay.close();
  }

  #passOnDevices(): Promise<void> {
    this.#passing ??= this.#passAllOn();
    this.#passing.catch(() => undefined);
    return this.#passing;
  }

  async #passAllOn(): Promise<void> {
    markSwitchover('memory received');
    const feeder = await this.#fed.promise;
    const { overlay } = this.#placed();
    const closed = this.#beginFilling()
      .then(() => overlay.finish())
      .then(() => markSwitchover('overlay closed'));
    // QEMU opens the disk for good as soon as it has loaded the devices.
    await Promise.all([closed, feeder.finish(this.#state, closed)]);
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
    const { overlay, changes } = this.#placed();
    const { disk: image } = this.#images.both;
    while ((await fillOverlay(overlay, { image, changes, limit: FILL_CLUSTERS })) > 0);
  }

  #placed(): Place {
    if (this.#place === undefined) throw new RangeError('the VM has no place yet');
    return this.#place;
  }
}
