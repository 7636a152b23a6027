/**
 * Packs on their way to the store. A pack that could not be stored is held and tried again by the next
 * `settle`, so a reference that was handed out never dies; so many are held at most, and `room` makes
 * writers wait for that, or tells them that the store is gone.
 *
 *   start ─▶ sending ─▶ durable (forgotten, its age kept)
 *               ▲ │
 *        settle │ ▼
 *             failed
 */
import type { VmId } from '../protocol/ids.ts';
import { StoreUnavailableError } from './chunk-errors.ts';
import { ageMs, type Clock, type Moment, markMoment } from './grace.ts';
import type { ObjectBackend } from './object-backend.ts';
import { packKey } from './store-keys.ts';

/** With packs of 16 MiB that is what a VM's store holds of memory at most. */
export const MAX_HELD_PACKS = 6;

interface HeldPack {
  readonly body: Buffer;
  /** Never rejects. */
  sending: Promise<void>;
  failure: unknown;
}

interface PackUploadsOptions {
  readonly backend: ObjectBackend;
  readonly vmId: VmId;
  readonly clock: Clock;
  /** Ends uploads; the caller's life, not one call's. */
  readonly signal: AbortSignal;
}

export class PackUploads {
  readonly #options: PackUploadsOptions;
  readonly #held = new Map<string, HeldPack>();
  /** When the first attempt to store it began: before the store can have dated it. */
  readonly #begun = new Map<string, Moment>();

  constructor(options: PackUploadsOptions) {
    this.#options = options;
  }

  start(packId: string, body: Buffer): void {
    this.#begun.set(packId, markMoment(this.#options.clock));
    const pack: HeldPack = { body, sending: Promise.resolve(), failure: undefined };
    this.#held.set(packId, pack);
    pack.sending = this.#send(packId, pack);
  }

  /** Waits until another pack may start; throws StoreUnavailableError when all those held have failed. */
  async room(signal: AbortSignal): Promise<void> {
    while (this.#held.size >= MAX_HELD_PACKS) {
      const sending = [...this.#held.values()].filter(({ failure }) => failure === undefined);
      if (sending.length === 0) {
        throw new StoreUnavailableError(
          'Packs of chunks could not be stored, and no more can be held; flush tries them again.',
        );
      }
      await untilAborted(Promise.race(sending.map((pack) => pack.sending)), signal);
    }
  }

  /** Resolves when every pack is durable; throws the first failure, with the failed packs still held. */
  async settle(signal: AbortSignal): Promise<void> {
    for (const [packId, pack] of this.#held) {
      if (pack.failure === undefined) continue;
      pack.failure = undefined;
      pack.sending = this.#send(packId, pack);
    }
    const all = [...this.#held.values()];
    await untilAborted(Promise.all(all.map(({ sending }) => sending)), signal);
    const failed = all.find(({ failure }) => failure !== undefined);
    if (failed !== undefined) throw failed.failure;
  }

  bodyOf(packId: string): Buffer | undefined {
    return this.#held.get(packId)?.body;
  }

  /** Of a pack that was started here. */
  ageMs(packId: string): number | undefined {
    const begun = this.#begun.get(packId);
    return begun && ageMs(begun, this.#options.clock);
  }

  /** Ages of packs for which `keep` is false are of no more use. */
  forget(keep: (packId: string) => boolean): void {
    for (const packId of this.#begun.keys()) {
      if (!keep(packId) && !this.#held.has(packId)) this.#begun.delete(packId);
    }
  }

  async #send(packId: string, pack: HeldPack): Promise<void> {
    const { backend, vmId, signal } = this.#options;
    try {
      await backend.put(packKey(vmId, packId), pack.body, { signal });
      this.#held.delete(packId);
    } catch (error) {
      pack.failure = error ?? new Error('the upload ended');
    }
  }
}

/** The task goes on; only the wait for it ends, with the signal's reason. */
async function untilAborted(task: Promise<unknown>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const end = () => reject(signal.reason);
  signal.addEventListener('abort', end, { once: true });
  try {
    await Promise.race([task, promise]);
  } finally {
    signal.removeEventListener('abort', end);
  }
}
