/**
 * A thread of the agent in which the next step of a guest's blackout waits for its turn: before guests,
 * which may keep every processor busy for milliseconds each time (sched(7): in Linux the nice value is
 * a thread's own). For a moment only, so that nobody has to see to its end.
 */
import { setPriority } from 'node:os';

const URGENT_NICE = -15;
/** Longer than a blackout should be; a thread that is urgent for long keeps guests waiting. */
export const URGENT_MS = 2_000;

type SetNice = (nice: number) => void;

export class ThreadPriority {
  readonly #set: SetNice;
  #end: NodeJS.Timeout | undefined;

  /** Of the thread that calls; it must be the same one always. */
  constructor(set: SetNice = setPriority) {
    this.#set = set;
    // A thread begins with the priority of the one that made it.
    this.#try(0);
  }

  /** From now on for URGENT_MS. Without the right to do so nothing happens. */
  hurry(): void {
    clearTimeout(this.#end);
    this.#try(URGENT_NICE);
    this.#end = setTimeout(() => this.#try(0), URGENT_MS);
    this.#end.unref();
  }

  #try(nice: number): void {
    try {
      this.#set(nice);
    } catch {
      // Only root may; whoever is not gets its turn all the same, a little later.
    }
  }
}

export const thisThread = new ThreadPriority();
