/**
 * A VM that runs here and can leave: its data worker and its tracking, until it goes or ends.
 *
 *   begin | arrived ─▶ tracked ─▶ depart ─▶ left (the token went)
 *                        ▲           └─▶ stayed: tracked anew
 *                        └───────────────┘
 *
 * The worker is the VM's: it ends with it. If it breaks, the VM runs on and gets a new one.
 */
import type { Logger } from 'pino';
import { ArchitectError } from '../protocol/errors.ts';
import { leastMemoryMib } from '../protocol/instance-class.ts';
import type { SendVm, TrackingReport } from '../protocol/migration-messages.ts';
import type { LiveVm } from '../vm/vm-driver.ts';
import { vmFiles } from '../vm/vm-files.ts';
import { type DepartureOutcome, type DepartureToken, depart } from './departure.ts';
import { describeMachine } from './machine-facts.ts';
import type { Mobility } from './mobility.ts';
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
  readonly onPhase: (phase: 'precopy' | 'switchover') => void;
  readonly onEvent: (event: DataEvent) => void;
  readonly signal: AbortSignal;
}

export class MovableVm {
  readonly #parts: MovableParts;
  readonly #data: VmData;
  readonly #tracking: VmTracking;

  private constructor(parts: MovableParts, data: VmData, lacks: 'overlay' | 'marked') {
    this.#parts = parts;
    this.#data = data;
    this.#tracking = new VmTracking({ ...parts, data, lacks });
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
    const stopListening = this.#data.on(hooks.onEvent);
    await this.#tracking.lend();
    try {
      const outcome = await depart(move, {
        qmp: live.qmp,
        data: this.#data,
        pulseDisk: () => this.#tracking.pulseDisk(hooks.signal),
        diskBytes: live.machine.diskBytes,
        identity: mobility.identity,
        facts: describeMachine(live.memory, live.machine),
        flip: async () => undefined,
        flipBack: async () => undefined,
        ...hooks,
      });
      if (outcome.kind === 'stayed') this.#tracking.resume();
      return outcome;
    } finally {
      stopListening();
    }
  }

  /** The VM is over here. Its worker is gone when it resolves. */
  async end(): Promise<void> {
    await this.#tracking.end();
    await this.#data.end();
  }
}

/** What a data worker of this VM has to know, whichever way the VM came here. */
export async function openingOf(
  vm: Pick<LiveVm['memory']['spec'], 'vmId' | 'templateDir' | 'vmDir'>,
  mobility: Mobility,
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
