/**
 * A source's side of a move, in its data worker.
 *
 *   dial: connected, machine and layout sent ─▶ converge: what is cold, while the target fetches from
 *   the store; rounds until little is left, then reading without a pause, until the target has done all
 *   that it was given and little is left even so
 *   ─▶ reading rests ─▶ (main thread stops the guest) ─▶ finish: last pages, clusters, devices
 *
 * The stream's tracker is lent by TrackingRole from `dial` to `hangUp`. On failure of any call the
 * connection is over and the target knows why; the images are whole and the tracker usable.
 */
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { dialPeer } from '../peer/dial-peer.ts';
import { isChasing, LOOK_MS } from '../plan-throttle.ts';
import { PAGE_BYTES } from '../stream/stream-format.ts';
import { markSwitchover } from '../switchover-trace.ts';
import { thisThread } from '../thread-priority.ts';
import type { MemoryTracker } from '../tracking/memory-tracker.ts';
import type { VmLayout } from '../transfer/layout.ts';
import { isTimeForHot } from '../transfer/plan-hot.ts';
import { Sender } from '../transfer/sender.ts';
import type { ConvergeData, Converged, DataEvent, DialData, Json } from './data-commands.ts';
import type { ImageSet } from './image-set.ts';
import type { TrackingRole } from './tracking-role.ts';

/** Of one round: between two, the image takes what the guest wrote meanwhile. */
const ROUND_BYTES = 32 * 1024 * 1024;
/** What has changed more often lately, or was sent and has changed again, is hot. */
const COLD_HEAT = 1;
/** The target tells how far it is as often. */
const COLD_LOOK_MS = 200;
/**
 * Of what is left when the guest is stopped, where it can be had: a round that is sent and settled at
 * once. Pages that are always written come again anyway.
 */
const SETTLED_BYTES = 128 * 1024;
/** A guest that writes more than that in the time of a round will not write less in the next. */
const SETTLE_ROUNDS = 8;

export interface SendingParts {
  readonly images: ImageSet;
  readonly tracking: TrackingRole;
  readonly layout: () => VmLayout;
  readonly emit: (event: DataEvent) => void;
}

export class SendingRole {
  readonly #parts: SendingParts;
  readonly #end = new AbortController();
  #sender: Sender | undefined;
  #tracker: MemoryTracker | undefined;
  #isSending = false;
  /** The target has all that it was sent first, and all that the store gave. */
  #filled: Promise<void> | undefined;

  constructor(parts: SendingParts) {
    this.#parts = parts;
  }

  async dial({ endpoint, identity, expected, diskBytes, facts }: DialData): Promise<void> {
    const { images, tracking, layout, emit } = this.#parts;
    const { signal } = this.#end;
    const connection = await dialPeer({ identity, expected, endpoint, signal });
    connection.ended.addEventListener('abort', () => {
      emit({
        kind: 'hung-up',
        of: 'departure',
        why: connection.cause?.message ?? 'the connection is over',
      });
    });
    const tracker = await tracking.rest();
    this.#tracker = tracker;
    // What has changed since the last pulse is hot: it comes with the one before that is sent.
    if (!tracker.hasBegun) await tracker.pulse(signal);
    const { prologue, ramSectionId } = tracker.beginning;
    const machine = {
      blocks: images.memory.blocks.map(({ name, sizeBytes }) => ({ name, sizeBytes })),
      prologue: prologue.toString('base64'),
      ramSectionId,
      diskBytes,
      facts,
    };
    this.#sender = new Sender({
      ...{ connection, machine, layout, images: images.both },
      onToken: (message) => emit({ kind: 'told', message }),
      onProgress: () => this.#report(),
    });
    await this.#sender.start(signal);
  }

  async converge({ budgetBytes, deadlineMs }: ConvergeData): Promise<Converged> {
    const { sender, tracker } = this.#active();
    const { signal } = this.#end;
    if (this.#filled === undefined) {
      await this.#sendCold(deadlineMs);
      await tracker.pulse(signal);
    }
    let look = { atMs: performance.now(), dirtyBytes: 0 };
    for (;;) {
      await sender.round(ROUND_BYTES);
      const { changedPages } = await tracker.pulse(signal);
      const { leftBytes, bytesPerSecond } = sender.figures;
      this.#report();
      if (leftBytes <= budgetBytes || Date.now() >= deadlineMs) break;
      look = { ...look, dirtyBytes: look.dirtyBytes + changedPages * PAGE_BYTES };
      const ms = performance.now() - look.atMs;
      if (ms < LOOK_MS) continue;
      const rates = { dirtyBytesPerSecond: (look.dirtyBytes / ms) * 1_000, bytesPerSecond };
      if (isChasing(rates)) this.#parts.emit({ kind: 'chasing', rates });
      look = { atMs: performance.now(), dirtyBytes: 0 };
    }
    // From now on QEMU finds its stream empty, so that its last round is a short one.
    await tracker.drain(({ isFresh }) => (isFresh ? 'enough' : undefined), signal);
    thisThread.hurry();
    const leftBytes = await this.#settle(deadlineMs);
    // QEMU would go on to send empty rounds and take its big lock for each, while it is to stop.
    tracker.rest();
    return { leftBytes, isWithinBudget: leftBytes <= budgetBytes };
  }

  /** Until the target has what is in the store, or nearly: what is hot would only have to go again. */
  async #sendCold(deadlineMs: number): Promise<void> {
    const { sender } = this.#active();
    const { signal } = this.#end;
    let isFilled = false;
    const filled = sender.settle(signal).then(() => {
      isFilled = true;
    });
    filled.catch(() => undefined);
    this.#filled = filled;
    const begunMs = performance.now();
    while (!isFilled && Date.now() < deadlineMs) {
      const { sentBytes } = await sender.round(ROUND_BYTES, { maxHeat: COLD_HEAT });
      this.#report();
      if (sentBytes > 0) continue;
      if (isTimeForHot(sender.figures, performance.now() - begunMs)) return;
      await Promise.race([filled, sleep(COLD_LOOK_MS, undefined, { signal })]);
    }
  }

  /** The target is done with all that it was sent, so that in the blackout nothing waits in its way. */
  async #settle(deadlineMs: number): Promise<number> {
    const { sender } = this.#active();
    // One question at a time.
    await this.#filled;
    for (let round = 1; ; round += 1) {
      await sender.round(ROUND_BYTES);
      await sender.settle(this.#end.signal);
      const { leftBytes } = sender.figures;
      if (leftBytes <= SETTLED_BYTES || round === SETTLE_ROUNDS) return leftBytes;
      if (Date.now() >= deadlineMs) return leftBytes;
    }
  }

  /** The guest was stopped. Resolves when all is on its way. */
  async finish(): Promise<void> {
    const { sender, tracker } = this.#active();
    thisThread.hurry();
    const { prologue } = tracker.beginning;
    const deviceState = new PassThrough();
    // Its reader hears of it.
    deviceState.on('error', () => undefined);
    let sent: Promise<void> | undefined;
    const onDeviceState = (piece: Buffer) => {
      // With the first of it all of memory is in the image.
      sent ??= sender.finish({ prologue, deviceState });
      sent.catch(() => undefined);
      deviceState.write(Buffer.from(piece));
    };
    try {
      await tracker.finish(this.#end.signal, { onRound: () => this.#sendMore(), onDeviceState });
    } catch (error) {
      deviceState.destroy(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
    markSwitchover('stream ended');
    tracker.shut();
    deviceState.end();
    await sent;
    markSwitchover('all sent');
    sender.loaded(this.#end.signal).then(
      () => this.#parts.emit({ kind: 'loaded' }),
      () => undefined,
    );
    this.#report();
  }

  /** Beside the reading of what is still to come. A failure is the connection's: whoever waits hears. */
  #sendMore(): void {
    const { sender } = this.#active();
    if (this.#isSending || sender.figures.leftBytes === 0) return;
    this.#isSending = true;
    void sender
      .round(ROUND_BYTES)
      .catch(() => undefined)
      .finally(() => {
        this.#isSending = false;
      });
  }

  async tell(message: Json): Promise<void> {
    await this.#active().sender.sendToken(message);
  }

  /** Ends the move, in whichever state it is. The tracker goes back. */
  hangUp(why: string): void {
    this.#end.abort(new Error(why));
    this.#sender?.abort(why);
    this.#tracker?.rest();
  }

  #active() {
    if (this.#sender === undefined || this.#tracker === undefined) {
      throw new RangeError('no move is under way');
    }
    return { sender: this.#sender, tracker: this.#tracker };
  }

  #report(): void {
    if (this.#sender === undefined) return;
    const { sentBytes, leftBytes, target } = this.#sender.figures;
    this.#parts.emit({
      kind: 'moving',
      figures: {
        bytesFromSource: sentBytes,
        bytesFromStore: target?.fromStoreBytes ?? 0,
        bytesLeft: leftBytes,
      },
    });
  }
}
