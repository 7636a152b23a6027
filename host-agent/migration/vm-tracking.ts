/**
 * A VM that runs here is tracked: its held migration and its disk's pulses, from the main thread.
 *
 *   begin ─▶ tracked ⇄ lent to a departure or a checkpoint ─▶ resume ─▶ … ─▶ end
 *               └─ stream broke ─▶ untracked ─▶ tried again after a while
 *
 * Tracking never ends a VM: whatever fails here is logged, tried again, and the guest runs on.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { TrackingReport } from '../protocol/migration-messages.ts';
import { OVERLAY_NODE } from '../vm/qemu-arguments.ts';
import { qemuUser } from '../vm/qemu-user.ts';
import type { LiveVm } from '../vm/vm-driver.ts';
import { type VmFiles, vmFiles } from '../vm/vm-files.ts';
import { attachDiskTracking, detachDiskTracking, pulseDisk } from './disk/disk-tracking.ts';
import { cancelHold, holdMigration } from './tracking/held-migration.ts';
import type { TrackingFigures } from './worker/data-commands.ts';
import type { VmData } from './worker/vm-data.ts';

/** A guest's writes reach the image this often at most; a pulse costs it some milliseconds. */
const DISK_PULSE_MS = 2_000;
const RETRY_MS = 5_000;

export interface TrackingParts {
  readonly live: LiveVm;
  readonly data: VmData;
  /** What the disk's image does not have yet: all of the overlay, or what QEMU's bitmap marks. */
  readonly lacks: 'overlay' | 'marked';
  readonly logger: Logger;
  readonly onChange: () => void;
}

export class VmTracking {
  readonly #parts: TrackingParts;
  readonly #files: VmFiles;
  readonly #end = new AbortController();
  readonly #stopListening: () => void;
  #lacks: TrackingParts['lacks'];
  #figures: TrackingFigures | undefined;
  #lastCheckpoint: TrackingReport['lastCheckpoint'] = null;
  #isTracked = false;
  #isLent = false;
  #work: Promise<unknown> = Promise.resolve();
  #disk: Promise<unknown> = Promise.resolve();

  constructor(parts: TrackingParts) {
    this.#parts = parts;
    this.#lacks = parts.lacks;
    this.#files = vmFiles(parts.live.memory.spec.vmDir);
    this.#stopListening = parts.data.on((event) => {
      if (event.kind === 'pulsed') this.#pulsed(event.figures);
      if (event.kind === 'untracked') this.#broke(event.why);
    });
  }

  /** Tracks as soon as it can, and again whenever it broke, until `end`. */
  begin(): void {
    this.#work = this.#work.then(() => this.#beginUntilDone());
    void this.#pulseDisks();
  }

  /** Absent while nothing is tracked. */
  report(): TrackingReport | undefined {
    if (this.#figures === undefined || !this.#isTracked) return undefined;
    return { ...this.#figures, lastCheckpoint: this.#lastCheckpoint };
  }

  noteCheckpoint(point: NonNullable<TrackingReport['lastCheckpoint']>): void {
    this.#lastCheckpoint = point;
    this.#parts.onChange();
  }

  get isTracked(): boolean {
    return this.#isTracked;
  }

  /** What the guest wrote to its disk before the call is in the image when it resolves. */
  pulseDisk(signal?: AbortSignal): Promise<void> {
    const pulse = this.#disk.then(async () => {
      await pulseDisk(this.#parts.live.qmp, { node: OVERLAY_NODE, signal });
    });
    this.#disk = pulse.catch(() => undefined);
    return pulse;
  }

  /** The guest stands for long: QEMU would leave its hold, so it is let go. `resume` takes it back. */
  async rest(): Promise<void> {
    await this.lend();
    await cancelHold(this.#parts.live.qmp);
  }

  /** From now on stream and disk are the caller's; `resume` takes them back. */
  async lend(): Promise<void> {
    this.#isLent = true;
    await this.#work;
    await this.#disk;
  }

  /** The guest runs here and QEMU holds no migration any more: tracking begins anew. */
  resume(): void {
    this.#isLent = false;
    this.#isTracked = false;
    this.#work = this.#work.then(() => this.#beginUntilDone());
  }

  /** The VM is over here, or going: nothing is asked of its QEMU any more. */
  async end(): Promise<void> {
    this.#end.abort();
    this.#stopListening();
    await this.#work.catch(() => undefined);
    await this.#disk;
  }

  async #beginUntilDone(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted && !this.#isLent) {
      try {
        await this.#begin();
        this.#isTracked = true;
        this.#parts.onChange();
        return;
      } catch (err) {
        if (signal.aborted) return;
        this.#parts.logger.warn({ err }, 'VM cannot be tracked; trying again');
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #begin(): Promise<void> {
    const { data, live } = this.#parts;
    const { memorySocket, diskSocket } = this.#files;
    const { spec } = live.memory;
    const { diskBytes } = live.machine;
    await cancelHold(live.qmp);
    await data.call('untrack');
    await data.call('listen', { memorySocket, diskSocket, diskBytes, user: qemuUser(spec.vmId) });
    await attachDiskTracking(live.qmp, {
      node: OVERLAY_NODE,
      exportSocket: diskSocket,
      lacks: this.#lacks,
      signal: this.#end.signal,
    });
    this.#lacks = 'marked';
    await holdMigration(live.qmp, { socketPath: memorySocket, signal: this.#end.signal });
    await data.call('track');
  }

  async #pulseDisks(): Promise<void> {
    const { signal } = this.#end;
    for (;;) {
      await sleep(DISK_PULSE_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) break;
      if (!this.#isTracked || this.#isLent) continue;
      await this.pulseDisk(signal).catch((err: unknown) => {
        if (!signal.aborted) this.#parts.logger.warn({ err }, "a disk's pulse failed");
      });
    }
    await detachDiskTracking(this.#parts.live.qmp).catch(() => undefined);
  }

  /** Only with the first figures can anybody plan a move: they do not wait for the next report. */
  #pulsed(figures: TrackingFigures): void {
    const isFirst = this.#figures === undefined;
    this.#figures = figures;
    if (isFirst) this.#parts.onChange();
  }

  #broke(why: string): void {
    if (this.#isLent || this.#end.signal.aborted) return;
    this.#parts.logger.warn({ why }, "QEMU's stream broke; tracking begins anew");
    this.#isTracked = false;
    this.#work = this.#work.then(() => this.#beginUntilDone());
  }
}
