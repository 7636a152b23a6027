/**
 * The points of one VM's life that go into the store from this host: its checkpoints, each when it is
 * due or asked for, and its parking.
 *
 *   tracked ──due, or asked──▶ checkpoint ──▶ tracked
 *      └──park-vm──▶ parking ──▶ over here · or failed: it runs on
 *
 * Invariants: one of them at a time, and none beside a move, which goes before a checkpoint; a VM
 * without a store or a key has none.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { markCheckpoint } from '../migration/checkpoint-trace.ts';
import type { VmGate } from '../migration/guest-gate.ts';
import { describeMachine } from '../migration/machine-facts.ts';
import type { Mobility } from '../migration/mobility.ts';
import type { MovableVm, PointAsk } from '../migration/movable-vm.ts';
import { isDue, type PastCheckpoint } from '../migration/plan-checkpoint.ts';
import { settleParking } from '../migration/settle-parking.ts';
import { refused } from '../protocol/errors.ts';
import type { AgentOutcome } from '../protocol/messages.ts';
import type { ParkVm } from '../protocol/migration-messages.ts';
import type { ParkingWord } from '../protocol/vm-report.ts';
import { jobOf } from '../vm/lifecycle.ts';
import type { LiveVm } from '../vm/vm-driver.ts';
import { describeError } from './move-words.ts';
import type { MovingStay } from './moving-stay.ts';

/** A parking that fails sooner is refused; one that takes longer is taken. Below the request's limit. */
const PARK_ANSWER_MS = 10_000;
const MAX_HISTORY = 10;
const TAKEN: AgentOutcome = { kind: 'taken' };

export interface PointSurroundings {
  readonly stay: MovingStay;
  readonly mobility: Mobility;
  readonly nowMs: () => number;
  readonly logger: Logger;
  readonly onChange: () => void;
  readonly movable: () => MovableVm | undefined;
  readonly isMoving: () => boolean;
  readonly gate: VmGate;
}

export class VmPoints {
  readonly #around: PointSurroundings;
  readonly #end = new AbortController();
  #parking: { readonly epoch: number; readonly over: Promise<AgentOutcome> } | undefined;
  #failed: { readonly epoch: number; readonly why: string } | undefined;
  #history: readonly PastCheckpoint[] = [];
  /** The last checkpoint, or the beginning of tracking; monotonic. */
  #sinceMs: number | undefined;
  #served: MovableVm | undefined;

  constructor(around: PointSurroundings) {
    this.#around = around;
  }

  get isParking(): boolean {
    return this.#parking !== undefined;
  }

  /** For the VM's report: a failure comes after the request was taken. */
  get parking(): ParkingWord | undefined {
    if (this.#parking !== undefined) return { epoch: this.#parking.epoch, failed: null };
    return this.#failed === undefined
      ? undefined
      : { epoch: this.#failed.epoch, failed: this.#failed.why };
  }

  /** An earlier agent began it, and it will not be published: the VM runs on. */
  noteParkingFailed(epoch: number, why: string): void {
    this.#failed = { epoch, why };
    this.#around.onChange();
  }

  /** To be called now and then: makes the checkpoint that is due. */
  tick(): void {
    const movable = this.#around.movable();
    if (movable?.isTracked !== true || this.#around.mobility.store() === undefined) return;
    this.#serve(movable);
    this.#sinceMs ??= performance.now();
    const live = this.#around.stay.driver()?.live();
    const due = {
      ...{ history: this.#history, sinceMs: this.#sinceMs, nowMs: performance.now() },
      shortestMs: this.#around.mobility.checkpointIntervalMs,
    };
    if (live?.memory.state.phase === 'assigned' && isDue(due)) this.checkpoint();
  }

  /** Answers at once; what becomes of it shows in the VM's report. */
  checkpoint(): AgentOutcome {
    const movable = this.#around.movable();
    const why = this.#whyNot(movable);
    if (why !== undefined || movable === undefined) return refused(why ?? 'It is not tracked.');
    if (movable.isStoring) return TAKEN;
    void this.#checkpoint(movable);
    return TAKEN;
  }

  /**
   * Refused when it cannot be, or failed already; taken when it is done or still under way. The same
   * request again gives the same answer.
   */
  async park(request: ParkVm): Promise<AgentOutcome> {
    const { epoch } = request;
    if (this.#failed?.epoch === epoch) return refused(this.#failed.why);
    if (this.#parking === undefined) {
      const movable = this.#around.movable();
      const held = this.#around.stay.journal.epoch;
      if (epoch <= held) return refused(`Epoch ${epoch} is used up, the VM is in ${held}.`);
      const why = this.#whyNot(movable);
      if (why !== undefined || movable === undefined) return refused(why ?? 'It is not tracked.');
      const over = this.#park(movable, request);
      this.#parking = { epoch, over };
    } else if (this.#parking.epoch !== epoch) return refused('This VM is being parked already.');
    const late = sleep(PARK_ANSWER_MS, TAKEN, { ref: false });
    return await Promise.race([this.#parking.over, late]);
  }

  /** The VM is over here. */
  end(): void {
    this.#end.abort(new Error('the VM ends'));
  }

  #whyNot(movable: MovableVm | undefined): string | undefined {
    const { mobility, isMoving } = this.#around;
    if (mobility.store() === undefined) return 'There is no chunk store.';
    if (isMoving()) return 'This VM is moving.';
    if (this.isParking) return 'This VM is being parked.';
    return movable?.isTracked === true ? undefined : 'This VM is not tracked yet.';
  }

  /** A worker that was opened before the control plane had named the store. */
  #serve(movable: MovableVm): void {
    if (this.#served === movable) return;
    this.#served = movable;
    movable.useStore().catch((err: unknown) => {
      this.#served = undefined;
      this.#around.logger.warn({ err }, 'the chunk store cannot be used yet');
    });
  }

  async #checkpoint(movable: MovableVm): Promise<void> {
    const { logger } = this.#around;
    try {
      await movable.useStore();
      const { cost, ...outcome } = await movable.checkpoint(await this.#ask());
      this.#history = [...this.#history, cost].slice(-MAX_HISTORY);
      if (outcome.kind === 'failed') {
        logger.warn({ why: outcome.why, ...cost }, 'a checkpoint failed; the VM runs on');
      } else {
        const { epoch, generation, sealed } = outcome;
        logger.info({ epoch, generation, sealed, ...cost }, 'checkpoint');
        markCheckpoint({ ...cost, sealedBytes: sealed.bytes });
      }
    } catch (err) {
      logger.error({ err }, 'a checkpoint failed');
    } finally {
      this.#sinceMs = performance.now();
    }
  }

  async #park(movable: MovableVm, request: ParkVm): Promise<AgentOutcome> {
    const { stay, gate, logger } = this.#around;
    const { epoch, why, deadlineMs } = request;
    try {
      await movable.useStore();
      const outcome = await movable.park({
        ...(await this.#ask()),
        parkEpoch: epoch,
        deadlineMs,
        settle: () => this.#settle(epoch),
        journal: {
          intend: (parking) => stay.markParking(parking),
          forget: () => stay.markParking(undefined),
        },
      });
      if (outcome.kind === 'parked') {
        gate.shut();
        logger.info({ epoch, why }, 'VM is parked');
        stay.endParked({ why, stoppedAtMs: outcome.stoppedAtMs });
        return TAKEN;
      }
      return this.#fail(epoch, outcome.why);
    } catch (err) {
      logger.error({ err, epoch }, 'the VM could not be parked');
      return this.#fail(epoch, describeError(err).slice(0, 500));
    }
  }

  #fail(epoch: number, why: string): AgentOutcome {
    this.#around.logger.warn({ epoch, why }, 'the VM was not parked: it stays here');
    this.#parking = undefined;
    this.noteParkingFailed(epoch, why);
    return refused(why);
  }

  async #settle(epoch: number) {
    const { stay, mobility } = this.#around;
    const { vmId } = stay.journal;
    const { signal } = this.#end;
    return await settleParking({ vmId, epoch, store: mobility.store, signal });
  }

  async #ask(): Promise<PointAsk> {
    const { stay, mobility, gate, nowMs } = this.#around;
    const key = await mobility.keys.get(stay.journal.vmId);
    if (key === undefined) throw new Error('This VM has no key.');
    const live = (): LiveVm => {
      const found = stay.driver()?.live();
      if (found === undefined) throw new Error('The VM is over.');
      return found;
    };
    return {
      epoch: stay.journal.epoch,
      jobId: jobOf(live().memory.state) ?? null,
      wrappedKey: key.wrapped,
      machine: () => describeMachine(live().memory, live().machine),
      gate,
      nowMs,
    };
  }
}
