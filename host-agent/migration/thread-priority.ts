/**
 * A thread of the agent in which the next step of a guest's blackout waits for its turn: before guests,
 * which may keep every processor busy for milliseconds each time (sched(7): in Linux the nice value is
 * a thread's own). For a moment only, so that nobody has to see to its end. And one that does what can
 * wait: after guests.
 */
import { setPriority } from 'node:os';

const URGENT_NICE = -15;
/** A tenth of what a guest on the same processor gets. */
const PATIENT_NICE = 10;
/** Longer than a blackout should be; a thread that is urgent for long keeps guests waiting. */
export const URGENT_MS = 2_000;

type SetNice = (nice: number) => void;

export class ThreadPriority {
  readonly #set: SetNice;
  #end: NodeJS.Timeout | undefined;
  #isUrgent = false;
  readonly #mayHurry: boolean;

  /** Of the thread that calls; it must be the same one always. */
  constructor(set: SetNice = setPriority) {
    this.#set = set;
    this.#mayHurry = this.#try(URGENT_NICE);
    // A thread begins with the priority of the one that made it.
    this.#try(0);
  }

  /** From now on for URGENT_MS. Without the right to do so nothing happens. */
  hurry(): void {
    clearTimeout(this.#end);
    this.#isUrgent = true;
    this.#try(URGENT_NICE);
    this.#end = setTimeout(() => {
      this.#isUrgent = false;
      this.#try(0);
    }, URGENT_MS);
    this.#end.unref();
  }

  /** While it lasts, unless there is a hurry. Without the right to undo it nothing happens. */
  async giveWay<T>(task: () => Promise<T>): Promise<T> {
    if (this.#isUrgent || !this.#mayHurry) return await task();
    this.#try(PATIENT_NICE);
    try {
      return await task();
    } finally {
      if (!this.#isUrgent) this.#try(0);
    }
  }

  #try(nice: number): boolean {
    try {
      this.#set(nice);
      return true;
    } catch {
      // Only root may; whoever is not gets its turn all the same, a little later.
      return false;
    }
  }
}

export const thisThread = new ThreadPriority();
