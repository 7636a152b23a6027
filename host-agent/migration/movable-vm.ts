/**
 * A VM that runs here and can leave: its data worker and its tracking, until it goes or ends.
 *
 *   begin | arrived ─▶ tracked ─▶ depart ─▶ left (the token went)
 *                        ▲           └─▶ stayed: tracked anew
 *                        ├───────────────┘
 *                        └──▶ checkpoint: tracked anew · park: over, or tracked anew
 *
 * One at a time: a move or a parking gives up a checkpoint that is under way, and waits until it has.
 * The worker is the VM's: it ends with it. If it breaks, the VM runs on and gets a new one.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { ArchitectError } from '../protocol/errors.ts';
import { leastMemoryMib } from '../protocol/instance-class.ts';
import type { SendVm, TrackingReport } from '../protocol/migration-messages.ts';
import type { LiveVm } from '../vm/vm-driver.ts';
import { vmFiles } from '../vm/vm-files.ts';
import { type CheckpointOutcome, checkpoint, type PointParts } from './checkpoint.ts';
import { CpuThrottle } from './cpu-throttle.ts';
import { type DepartureOutcome, type DepartureToken, depart } from './departure.ts';
import type { Mobility } from './mobility.ts';
import type { PacketSwitch } from './packet-switch.ts';
import { type ParkOutcome, type ParkParts, park } from './park.ts';
import type { PastCheckpoint } from './plan-checkpoint.ts';
import { VmTracking } from './vm-tracking.ts';
import type { DataEvent, Json, OpenData } from './worker/data-commands.ts';
import { VmData } from './worker/vm-data.ts';

export class UntrackableError extends ArchitectError {
  readonly code = 'UNTRACKABLE';
  readonly retry = 'never';
}

export interface MovableParts {
  readonly live: LiveVm;
  readonly mobility: Mobility;
  readonly logger: Logger;
  readonly onChange: () => void;
}

export interface MoveHooks {
  readonly token: DepartureToken;
  /** What the VM is by now: its life has gone on since it was first tracked. */
  readonly facts: Json;
  readonly onPhase: (phase: 'precopy' | 'switchover') => void;
  readonly onEvent: (event: DataEvent) => void;
  readonly packets: Pick<PacketSwitch, 'flip' | 'flipBack'>;
  readonly signal: AbortSignal;
}

/** What the caller of a checkpoint knows and this does not. */
export type PointAsk = Pick<
  PointParts,
  'epoch' | 'jobId' | 'wrappedKey' | 'machine' | 'gate' | 'nowMs'
>;
type PointOwn = Pick<PointParts, 'qmp' | 'data' | 'signal' | 'pulseDisk'>;

/** A pass over all of a large guest's memory. */
const FIRST_PULSE_LIMIT_MS = 120_000;

export class MovableVm {
  readonly #parts: MovableParts;
  readonly #data: VmData;
  readonly #tracking: VmTracking;
  readonly #throttle: CpuThrottle;

  #point: { readonly stop: AbortController; readonly over: Promise<unknown> } | undefined;

  private constructor(parts: MovableParts, data: VmData, lacks: 'overlay' | 'marked') {
    this.#parts = parts;
    this.#data = data;
    this.#tracking = new VmTracking({ ...parts, data, lacks });
    this.#throttle = new CpuThrottle(parts.live.memory.spec, parts.logger);
    this.#throttle.restore();
    this.#tracking.begin();
  }

  /** A VM of which nothing is known here yet. Rejects with what keeps it from being tracked. */
  static async begin(parts: MovableParts): Promise<MovableVm> {
    const untrackable = whyUntrackable(parts.live);
    if (untrackable !== undefined) throw new UntrackableError(untrackable);
    const data = new VmData();
    try {
      await data.call('open', await openingOf(parts.live.memory.spec, parts.mobility));
    } catch (error) {
      await data.end();
      throw error;
    }
    return new MovableVm(parts, data, 'overlay');
  }

  /** The worker that received it has its images. */
  static arrived(parts: MovableParts, data: VmData): MovableVm {
    return new MovableVm(parts, data, 'marked');
  }

  report(): TrackingReport | undefined {
    return this.#tracking.report();
  }

  get isTracked(): boolean {
    return this.#tracking.isTracked;
  }

  /** Best effort, to the host on the other side of a move that is under way. */
  tell(message: Json): void {
    this.#data.call('tell', message).catch(() => undefined);
  }

  /** Departure.ts says what holds when it settles. Afterwards the VM is tracked again if it stayed. */
  async depart(move: SendVm, hooks: MoveHooks): Promise<DepartureOutcome> {
    const { live, mobility } = this.#parts;
    const throttle = this.#throttle;
    const stopListening = this.#data.on((event) => {
      if (event.kind === 'chasing') throttle.slower(event.rates);
      hooks.onEvent(event);
    });
    throttle.set(move.cpuShare);
    let isGone = false;
    try {
      await this.#giveUpPoint('the VM moves');
      await this.#tracking.lend();
      const outcome = await depart(move, {
        qmp: live.qmp,
        data: this.#data,
        pulseDisk: () => this.#tracking.pulseDisk(hooks.signal),
        diskBytes: live.machine.diskBytes,
        identity: mobility.identity,
        hurry: () => throttle.hurry(),
        flip: hooks.packets.flip,
        flipBack: hooks.packets.flipBack,
        ...hooks,
      });
      isGone = outcome.kind === 'released';
      if (!isGone) this.#tracking.resume();
      return outcome;
    } finally {
      stopListening();
      if (!isGone) throttle.restore();
    }
  }

  get isStoring(): boolean {
    return this.#point !== undefined;
  }

  /** Checkpoint.ts says what holds when it settles. Afterwards the VM is tracked anew. */
  async checkpoint(ask: PointAsk): Promise<CheckpointOutcome & { readonly cost: PastCheckpoint }> {
    return await this.#storing(async (parts) => {
      const startedMs = performance.now();
      const outcome = await checkpoint({ ...parts, ...ask });
      const tracked = this.#untilPulsed(parts.signal);
      this.#tracking.resume();
      await tracked;
      const stopMs = outcome.kind === 'published' ? outcome.stopMs : 0;
      if (outcome.kind === 'published') {
        const { epoch, generation, atMs } = outcome;
        this.#tracking.noteCheckpoint({ epoch, generation, atMs });
      }
      return { ...outcome, cost: { stopMs, busyMs: performance.now() - startedMs - stopMs } };
    });
  }

  /** Park.ts says what holds when it settles. Afterwards the VM is over here, or tracked anew. */
  async park(
    ask: PointAsk & Pick<ParkParts, 'parkEpoch' | 'journal' | 'deadlineMs' | 'settle'>,
  ): Promise<ParkOutcome> {
    await this.#giveUpPoint('the VM is to be parked');
    return await this.#storing(async (parts) => {
      const outcome = await park({ ...parts, ...ask });
      if (outcome.kind === 'failed') this.#tracking.resume();
      return outcome;
    });
  }

  /** The guest stands, for as long as its lease has lapsed. */
  async rest(): Promise<void> {
    await this.#giveUpPoint('the guest was stopped');
    await this.#tracking.rest();
  }

  /** It runs again. */
  goOn(): void {
    this.#tracking.resume();
  }

  /** A store that the control plane has named since the worker was opened. */
  async useStore(): Promise<void> {
    const { store } = await openingOf(this.#parts.live.memory.spec, this.#parts.mobility);
    if (store !== undefined) await this.#data.call('useStore', store);
  }

  async #storing<T>(work: (parts: PointOwn) => Promise<T>): Promise<T> {
    const { live } = this.#parts;
    if (this.#point !== undefined) throw new RangeError('a checkpoint is under way');
    const stop = new AbortController();
    const { signal } = stop;
    const over = this.#tracking.lend().then(() =>
      work({
        ...{ qmp: live.qmp, data: this.#data, signal },
        pulseDisk: () => this.#tracking.pulseDisk(signal),
      }),
    );
    this.#point = { stop, over: over.catch(() => undefined) };
    try {
      return await over;
    } finally {
      this.#point = undefined;
    }
  }

  /** Resolves when the guest runs here as before it, or the parking is over. */
  async #giveUpPoint(why: string): Promise<void> {
    const point = this.#point;
    if (point === undefined) return;
    point.stop.abort(new Error(why));
    await this.#data.call('hangUp', { why }).catch(() => undefined);
    await point.over;
  }

  /** The first pulse of a tracking that begins anew: all of the guest's memory was sent again. */
  async #untilPulsed(signal: AbortSignal): Promise<void> {
    const pulsed = Promise.withResolvers<void>();
    const stopListening = this.#data.on(({ kind }) => {
      if (kind === 'pulsed' || kind === 'untracked') pulsed.resolve();
    });
    const limit = sleep(FIRST_PULSE_LIMIT_MS, undefined, { ref: false });
    const given = once(signal, 'abort').catch(() => undefined);
    if (!signal.aborted) await Promise.race([pulsed.promise, limit, this.#data.exited, given]);
    stopListening();
  }

  /**
   * The VM is another host's. Its worker still talks to that host, but has nothing any more where
   * the VM's next worker has it, should the VM come back before this one ends. Idempotent.
   */
  async letGo(): Promise<void> {
    // A worker that is gone listens nowhere.
    await this.#data.call('untrack').catch(() => undefined);
  }

  /** The VM is over here. Its worker is gone when it resolves. */
  async end(): Promise<void> {
    this.#point?.stop.abort(new Error('the VM ends'));
    await this.#tracking.end();
    await this.#data.end();
  }
}

/** What a data worker of this VM has to know, whichever way the VM came here. */
export async function openingOf(
  vm: Pick<LiveVm['memory']['spec'], 'vmId' | 'templateDir' | 'vmDir'>,
  mobility: Pick<Mobility, 'memories' | 'keys' | 'store'>,
): Promise<OpenData> {
  const base = await mobility.memories.of(vm.templateDir);
  const key = await mobility.keys.get(vm.vmId);
  const spec = mobility.store();
  const hasStore = key !== undefined && spec !== undefined;
  return {
    vmId: vm.vmId,
    base: base.share,
    diskImage: vmFiles(vm.vmDir).diskImage,
    store: hasStore ? { spec, key: key.plain } : undefined,
  };
}

/** See `leastMemoryMib`: nobody could tell what such a guest writes. */
function whyUntrackable({ memory, machine }: LiveVm): string | undefined {
  if (memory.spec.pool.accelerator !== 'tcg' || machine.plugged.dimmsMib.length === 0)
    return undefined;
  const leastGib = leastMemoryMib('tcg') / 1024;
  return `Under software emulation a VM of more than ${leastGib} GB cannot be tracked, so it does not move.`;
}
