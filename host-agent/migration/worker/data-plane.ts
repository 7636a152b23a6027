/** What a VM's data worker does with each command: the roles, put together for one VM. */
import { readSocketBufferBytes } from '../tracking/stream-socket.ts';
import type { DataCommands, DataEvent, OpenData } from './data-commands.ts';
import { ImageSet } from './image-set.ts';
import { ReceivingRole } from './receiving-role.ts';
import { RestoringRole } from './restoring-role.ts';
import { SendingRole } from './sending-role.ts';
import { Storage } from './storage.ts';
import { StoringRole } from './storing-role.ts';
import { TrackingRole } from './tracking-role.ts';

interface Opened {
  readonly vmId: string;
  readonly images: ImageSet;
  readonly tracking: TrackingRole;
  readonly storage: Storage;
}

export class DataPlane {
  readonly #emit: (event: DataEvent) => void;
  #opened: Opened | undefined;
  #sending: SendingRole | undefined;
  #receiving: ReceivingRole | undefined;
  #restoring: RestoringRole | undefined;
  #storing: StoringRole | undefined;

  constructor(emit: (event: DataEvent) => void) {
    this.#emit = emit;
  }

  readonly handlers: DataCommands = {
    open: (takes) => this.#open(takes),
    listen: async (takes) => await this.#vm.tracking.listen(takes),
    useStore: async (store) => {
      const { vmId, storage } = this.#vm;
      await storage.attach(vmId, store);
    },
    track: async () => this.#vm.tracking.pace(),
    untrack: async () => await this.#vm.tracking.close(),
    dial: async (takes) => {
      const { images, tracking, storage } = this.#vm;
      const layout = () => storage.layout(images.both);
      this.#sending = new SendingRole({ images, tracking, layout, emit: this.#emit });
      await this.#sending.dial(takes);
    },
    converge: async (takes) => await this.#departure.converge(takes),
    finish: async () => await this.#departure.finish(),
    receive: async (takes) => {
      const { images, storage } = this.#vm;
      const store = storage.source;
      this.#receiving = new ReceivingRole({ images, store, emit: this.#emit });
      return await this.#receiving.receive(takes);
    },
    place: async (takes) => await (this.#restoring ?? this.#arrival).place(takes),
    feed: async ({ socket }) => await (this.#restoring ?? this.#arrival).feed(socket),
    loaded: async () => await this.#arrival.sendLoaded(),
    tell: async (message) => await (this.#sending ?? this.#arrival).tell(message),
    calm: async () => {
      this.#storing = new StoringRole(this.#vm);
      await this.#storing.calm();
    },
    capture: async () => await this.#store.capture(),
    seal: async (takes) => await this.#store.seal(takes),
    publish: async (takes) => await this.#store.publish(takes),
    isKnown: async (takes) => await this.#store.isKnown(takes),
    readPoint: async (takes) => {
      this.#restoring = new RestoringRole(this.#vm);
      return await this.#restoring.readPoint(takes);
    },
    restore: async () => {
      const restored = await this.#restoring?.restore();
      this.#restoring = undefined;
      if (restored === undefined) throw new RangeError('no restoring is under way');
      return restored;
    },
    hangUp: async ({ why }) => this.#hangUp(why),
    close: async () => await this.#close(),
  };

  async #open({ vmId, base, diskImage, store }: OpenData): Promise<void> {
    const images = new ImageSet(base, diskImage);
    const storage = await Storage.open(vmId, store);
    const tell = () => this.#emit({ kind: 'pulsed', figures: storage.figures(images.both) });
    const tracking = new TrackingRole({
      images,
      kernelBytes: await readSocketBufferBytes(),
      onPulse: (pulse) => {
        storage.notePulse(pulse);
        storage.look(images.both);
        tell();
      },
      rest: async (ms, signal) => {
        await storage.rest(images.both, { ms, signal, onSealed: tell });
      },
      onBroken: (why) => this.#emit({ kind: 'untracked', why }),
    });
    this.#opened = { vmId, images, tracking, storage };
  }

  #hangUp(why: string): void {
    this.#sending?.hangUp(why);
    this.#sending = undefined;
    this.#receiving?.hangUp(why);
    this.#receiving = undefined;
    this.#restoring?.hangUp(why);
    this.#restoring = undefined;
    this.#storing?.hangUp(why);
    this.#storing = undefined;
  }

  /** The move is over and the VM is here, or gone: nobody has to be told. */
  async #close(): Promise<void> {
    this.#receiving?.close();
    this.#receiving = undefined;
  }

  get #vm(): Opened {
    if (this.#opened === undefined) throw new RangeError('the worker has no VM yet');
    return this.#opened;
  }

  get #store(): StoringRole {
    if (this.#storing === undefined) throw new RangeError('no checkpoint is under way');
    return this.#storing;
  }

  get #departure(): SendingRole {
    if (this.#sending === undefined) throw new RangeError('no departure is under way');
    return this.#sending;
  }

  get #arrival(): ReceivingRole {
    if (this.#receiving === undefined) throw new RangeError('no arrival is under way');
    return this.#receiving;
  }
}
