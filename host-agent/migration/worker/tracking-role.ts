/**
 * A VM's memory and disk, tracked while it runs here.
 *
 *   listening ──QEMU connects──▶ resting ⇄ pulsing (paced by what the last pulses found)
 *       ▲                           │ rest()
 *       └──────── close() ──────────┴──▶ lent to a departure, until `pace` again
 *
 * A stream that breaks is told once; the guest runs on. What the images have stays.
 */
import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { NbdServer } from '../disk/nbd-server.ts';
import { MemoryTracker } from '../tracking/memory-tracker.ts';
import { type PastPulse, planPace } from '../tracking/plan-pace.ts';
import type { ListenData } from './data-commands.ts';
import type { ImageSet } from './image-set.ts';

const CONNECT_LIMIT_MS = 30_000;
/** More than planPace looks at. */
const MAX_HISTORY = 10;

export interface TrackingParts {
  readonly images: ImageSet;
  readonly kernelBytes: number;
  /** After each pulse: what it found. */
  readonly onPulse: (pulse: { readonly changedPages: number }) => void;
  /** Between two pulses, for so long. The signal: somebody waits for the tracker. */
  readonly rest: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly onBroken: (why: string) => void;
}

export class TrackingRole {
  readonly #parts: TrackingParts;
  #disk: NbdServer | undefined;
  #memory: Server | undefined;
  #connected = Promise.withResolvers<MemoryTracker>();
  #tracker: MemoryTracker | undefined;
  #stop = new AbortController();
  #pacing: Promise<void> = Promise.resolve();

  constructor(parts: TrackingParts) {
    this.#parts = parts;
  }

  /** Both sockets are there and QEMU's user may connect. Called again only after `close`. */
  async listen({ memorySocket, diskSocket, diskBytes, user }: ListenData): Promise<void> {
    const image = await this.#parts.images.disk(diskBytes);
    this.#disk = await NbdServer.listen({ socketPath: diskSocket, image, user });
    this.#connected = Promise.withResolvers();
    this.#connected.promise.catch(() => undefined);
    await rm(memorySocket, { force: true });
    const server = createServer((socket) => this.#accept(socket));
    this.#memory = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(memorySocket, resolve);
    });
    await chmod(memorySocket, 0o600);
    await chown(memorySocket, user, user);
  }

  /** Pulses from now on, until `rest` or `close`. */
  pace(): void {
    this.#stop = new AbortController();
    this.#pacing = this.#pulses(this.#stop.signal);
  }

  /** No pulse is under way or will be: the tracker is the caller's until `pace`. */
  async rest(): Promise<MemoryTracker> {
    this.#stop.abort();
    await this.#pacing;
    return this.#whenConnected();
  }

  /** Both sockets are gone: what listens at their places from now on is another's. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#pacing;
    this.#tracker?.close();
    this.#tracker = undefined;
    this.#memory?.close();
    this.#memory = undefined;
    await this.#disk?.close();
    this.#disk = undefined;
  }

  /** One connection for one hold; QEMU makes a new one for the next. */
  #accept(socket: Socket): void {
    this.#memory?.close();
    const { images, kernelBytes } = this.#parts;
    const tracker = new MemoryTracker({ socket, image: () => images.memory, kernelBytes });
    this.#tracker = tracker;
    this.#connected.resolve(tracker);
  }

  async #whenConnected(): Promise<MemoryTracker> {
    const late = sleep(CONNECT_LIMIT_MS, undefined, { ref: false }).then(() => {
      throw new Error('QEMU did not connect to be tracked');
    });
    return await Promise.race([this.#connected.promise, late]);
  }

  async #pulses(signal: AbortSignal): Promise<void> {
    try {
      const tracker = await this.#whenConnected();
      let history: readonly PastPulse[] = [];
      let waitedMs = 0;
      while (!signal.aborted) {
        const pulse = await tracker.pulse(signal);
        this.#parts.onPulse(pulse);
        history = [...history.slice(-MAX_HISTORY), { ...pulse, waitedMs }];
        waitedMs = planPace(history).waitMs;
        await this.#parts.rest(waitedMs, signal);
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#parts.onBroken(error instanceof Error ? error.message : String(error));
    }
  }
}
