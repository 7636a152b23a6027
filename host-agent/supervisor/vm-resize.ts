/**
 * A running VM gets another size: what it holds of its host is journalled before it gets more, and
 * after it has given up what it can.
 *
 *   taken ─▶ the larger size journalled ─▶ untracked, resized ─▶ the new size journalled ─▶ tracked anew
 *                                              └── failed: what the machine has is journalled; why is told
 */
import type { Logger } from 'pino';
import { refused } from '../protocol/errors.ts';
import type { InstanceClass } from '../protocol/instance-class.ts';
import type { AgentOutcome } from '../protocol/messages.ts';
import type { ResizeVm, ResizeWord, VmSize } from '../protocol/resize-messages.ts';
import { largerOf, resizeMachine } from '../vm/resize-machine.ts';
import { describeError } from './move-words.ts';
import type { MovingStay } from './moving-stay.ts';

const WHY_LIMIT = 500;
const TAKEN: AgentOutcome = { kind: 'taken' };

export interface ResizeSurroundings {
  readonly stay: MovingStay;
  /** Why it must not begin now; undefined: it may. */
  readonly whyNot: () => string | undefined;
  /** Nothing of the VM is tracked while the work is done. */
  readonly untracked: (work: () => Promise<void>) => Promise<void>;
  /** The VM is over here. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  readonly onChange: () => void;
}

/** Whether this host has room for the VM at that size, beside the others. */
export type JudgeRoom = (size: InstanceClass) => AgentOutcome | undefined;

export class VmResize {
  readonly #around: ResizeSurroundings;
  #underWay: { readonly size: VmSize; readonly over: Promise<void> } | undefined;
  #failed: ResizeWord | undefined;

  constructor(around: ResizeSurroundings) {
    this.#around = around;
  }

  get isUnderWay(): boolean {
    return this.#underWay !== undefined;
  }

  /** Settles when nothing is under way; never rejects. */
  get over(): Promise<void> {
    return this.#underWay?.over ?? Promise.resolve();
  }

  /** For the VM's report. */
  get word(): ResizeWord | undefined {
    if (this.#underWay !== undefined) return { size: this.#underWay.size, failed: null };
    return this.#failed;
  }

  /** Answers at once. The same request again changes nothing. */
  begin({ size }: ResizeVm, judgeRoom: JudgeRoom): AgentOutcome {
    const { stay, whyNot } = this.#around;
    if (this.#underWay !== undefined)
      return isSame(this.#underWay.size, size) ? TAKEN : refused('It is being resized already.');
    const before = stay.journal.class;
    const memoryMib = Math.max(before.memoryMib, size.memoryMib);
    const after: InstanceClass = { ...before, vcpus: size.vcpus, memoryMib };
    if (stay.driver()?.live() === undefined) return refused('The VM does not run here.');
    const why = whyNot();
    if (why !== undefined) return refused(why);
    const lack = judgeRoom(largerOf(before, after));
    if (lack !== undefined) return lack;
    this.#failed = undefined;
    this.#underWay = { size, over: this.#resize(after, size) };
    this.#around.onChange();
    return TAKEN;
  }

  async #resize(after: InstanceClass, size: VmSize): Promise<void> {
    const { stay, untracked, signal, logger, onChange } = this.#around;
    try {
      await stay.become(largerOf(stay.journal.class, after));
      await untracked(async () => {
        const driver = stay.driver();
        if (driver !== undefined) await resizeMachine(driver, after, signal);
      });
      await stay.become(after);
      logger.info({ vcpus: after.vcpus, memoryMib: after.memoryMib }, 'VM resized');
    } catch (error) {
      logger.warn({ err: error }, 'VM not resized');
      this.#failed = { size, failed: describeError(error).slice(0, WHY_LIMIT) };
      const has = stay.driver()?.live()?.memory.spec.class;
      if (has !== undefined) await stay.become(has).catch(() => undefined);
    }
    this.#underWay = undefined;
    onChange();
  }
}

function isSame(one: VmSize, other: VmSize): boolean {
  return one.vcpus === other.vcpus && one.memoryMib === other.memoryMib;
}
