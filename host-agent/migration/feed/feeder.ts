/**
 * Feeds a target's QEMU, which waits with `-incoming`, from an image that fills at the same time.
 *
 *   prologue ─▶ part of pages, whenever the image has changed ─▶ … ─▶ finish: what is left, the last
 *   part, the devices' state
 *
 * QEMU begins with what the image began with: the template's pages in the block that has a base, zero
 * elsewhere, but for firmware and tables, which are fed whole. So just what differs from that is fed,
 * and again what changes after it was.
 *
 * Invariants: a page is taken from the ChangeSet before it is read; no more waits in the socket than
 * one part; `finish` sends only what was not fed yet. When QEMU ends, everything rejects with
 * FeedError, and the target's QEMU is of no use.
 */
import type { Duplex } from 'node:stream';
import { ArchitectError } from '../../protocol/errors.ts';
import type { ChangeSet } from '../image/change-set.ts';
import type { MemoryImage } from '../image/memory-image.ts';
import { encodeRamSection, type PageRun } from '../stream/stream-encoder.ts';
import { PAGE_BYTES } from '../stream/stream-format.ts';

/** Of one part: the longest that `finish` may have to wait behind. */
export const PART_PAGES = 256;
/** With room for the heads of its pages, and blocks' names. */
const PART_BYTES = PART_PAGES * (PAGE_BYTES + 64);
/** QEMU takes nothing for so long: it hangs. */
export const FEED_STALL_MS = 30_000;
/** Main memory and DIMMs (vm/qemu-arguments.ts); what else there is are ROMs, tables and firmware. */
const MEMORY_BLOCK = /^m\d+$/;

export class FeedError extends ArchitectError {
  readonly code = 'MIGRATION_FEED';
  readonly retry = 'later';
}

export interface FeederOptions {
  /** Connected to QEMU's incoming socket; owned from now on. */
  readonly socket: Duplex;
  readonly image: MemoryImage;
  /** As the source's QEMU sent it. */
  readonly prologue: Buffer;
  readonly ramSectionId: number;
  readonly stallMs?: number;
}

export class Feeder {
  readonly #options: FeederOptions;
  readonly #socket: Duplex;
  readonly #changes: readonly ChangeSet[];
  readonly #ended = Promise.withResolvers<never>();
  /** For each part anew. */
  readonly #space = Buffer.allocUnsafe(PART_BYTES);
  #cause: FeedError | undefined;
  #feeding: Promise<void> | undefined;
  #isFinishing = false;
  #fedBytes = 0;

  /** Begins at once with what is in the image. */
  constructor(options: FeederOptions) {
    this.#options = options;
    this.#socket = options.socket;
    this.#changes = options.image.watch({ everything: true });
    this.#markFirmware();
    this.#ended.promise.catch(() => {});
    this.#socket.on('error', (cause) => this.#over(`broke: ${cause.message}`, cause));
    this.#socket.on('close', () => this.#over('was closed'));
    // QEMU says nothing here that matters; unread, it would keep the socket from closing.
    this.#socket.resume();
    this.#write(options.prologue);
    this.poke();
  }

  /** On the way to QEMU so far. */
  get fedBytes(): number {
    return this.#fedBytes;
  }

  /** Pages that have changed and were not fed yet. */
  get pendingPages(): number {
    return this.#changes.reduce((sum, { size }) => sum + size, 0);
  }

  get cause(): FeedError | undefined {
    return this.#cause;
  }

  /** The image may have changed. Costs nothing while pages are on their way already. */
  poke(): void {
    if (this.#feeding !== undefined || this.#cause !== undefined || this.#isFinishing) return;
    if (this.pendingPages === 0) return;
    this.#feeding = this.#feed().finally(() => {
      this.#feeding = undefined;
    });
    this.#feeding.catch(() => {});
  }

  /** Resolves when QEMU has taken all that has changed by then. Rejects with FeedError. */
  async settled(): Promise<void> {
    this.poke();
    await this.#feeding;
    if (this.#cause !== undefined) throw this.#cause;
  }

  /**
   * The image is complete: sends what is left and the devices' state, as it comes. Resolves when
   * QEMU's socket has taken the last byte; QEMU has loaded it a little later. That byte is held back
   * until `diskIsClosed`: QEMU opens its disks after it has read to the very end (savevm.c,
   * qemu_loadvm_state; migration.c, process_incoming_migration_bh), and loading the devices takes
   * longer than closing the disk.
   */
  async finish(
    deviceState: Iterable<Buffer> | AsyncIterable<Buffer>,
    diskIsClosed: Promise<void> = Promise.resolve(),
  ): Promise<void> {
    this.#isFinishing = true;
    // It is awaited below; until then nobody else hears of its failure.
    diskIsClosed.catch(() => {});
    await this.#feeding;
    while (this.pendingPages > PART_PAGES) await this.#feedPart();
    const last = encodeRamSection(this.#options.ramSectionId, {
      runs: this.#takeRuns(PART_PAGES),
      isLast: true,
    });
    this.#write(last);
    let held = Buffer.alloc(0);
    for await (const piece of deviceState) {
      const all = Buffer.concat([held, piece]);
      this.#write(all.subarray(0, -1));
      held = all.subarray(-1);
    }
    await diskIsClosed;
    this.#write(held);
    await this.#drained();
    this.#unwatch();
  }

  /** Ends the connection; QEMU gives up when it has not got everything. */
  close(): void {
    this.#over('was closed here');
  }

  /** QEMU fills these by itself, and another QEMU with something else: also their zero pages count. */
  #markFirmware(): void {
    for (const { index, name, sizeBytes } of this.#options.image.blocks) {
      if (MEMORY_BLOCK.test(name)) continue;
      for (let page = 0; page < sizeBytes / PAGE_BYTES; page += 1) this.#changes[index]?.mark(page);
    }
  }

  async #feed(): Promise<void> {
    while (this.pendingPages > 0 && !this.#isFinishing) await this.#feedPart();
  }

  async #feedPart(): Promise<void> {
    const runs = this.#takeRuns(PART_PAGES);
    const part = { runs, isLast: false };
    this.#write(encodeRamSection(this.#options.ramSectionId, part, this.#space));
    // Until then it is not to be written to.
    await this.#drained();
  }

  #takeRuns(limit: number): readonly PageRun[] {
    const runs: PageRun[] = [];
    let left = limit;
    for (const { index, name } of this.#options.image.blocks) {
      const pages = this.#changes[index]?.take(left) ?? [];
      left -= pages.length;
      for (const page of pages) runs.push(this.#runOf(index, { block: name, page }));
    }
    return runs;
  }

  #runOf(
    index: number,
    { block, page }: { readonly block: string; readonly page: number },
  ): PageRun {
    const { image } = this.#options;
    const isZero = image.stateOf(index, page) === 'zero';
    const content = isZero ? { zeroPages: 1 } : image.readPage(index, page);
    return { block, offset: page * PAGE_BYTES, content };
  }

  #write(bytes: Buffer): void {
    if (this.#cause !== undefined) throw this.#cause;
    this.#fedBytes += bytes.length;
    this.#socket.write(bytes);
  }

  async #drained(): Promise<void> {
    if (this.#cause !== undefined) throw this.#cause;
    const stallMs = this.#options.stallMs ?? FEED_STALL_MS;
    const stalled = setTimeout(() => this.#over('takes nothing more'), stallMs);
    const empty = Promise.withResolvers<void>();
    // Called in turn: when it is, everything before it has been taken.
    this.#socket.write(Buffer.alloc(0), () => empty.resolve());
    try {
      await Promise.race([empty.promise, this.#ended.promise]);
    } finally {
      clearTimeout(stalled);
    }
  }

  #over(how: string, cause?: Error): void {
    if (this.#cause !== undefined) return;
    this.#cause = new FeedError(`The incoming socket of the target's QEMU ${how}.`, { cause });
    this.#unwatch();
    this.#socket.destroy();
    this.#ended.reject(this.#cause);
  }

  #unwatch(): void {
    this.#options.image.unwatch(this.#changes);
  }
}
