/** How many of the host's cores nobody uses, on average since the last `reset` (proc(5), /proc/stat). */
import { type CpuInfo, cpus } from 'node:os';

/** The kernel counts in ticks of 10 ms: over less time the answer says nothing. */
const LEAST_MS = 100;

export class IdleCores {
  readonly #cpus: () => readonly Pick<CpuInfo, 'times'>[];
  readonly #now: () => number;
  #since: { readonly idleMs: number; readonly atMs: number };

  constructor(
    source: {
      readonly cpus?: () => readonly Pick<CpuInfo, 'times'>[];
      readonly now?: () => number;
    } = {},
  ) {
    this.#cpus = source.cpus ?? cpus;
    this.#now = source.now ?? (() => performance.now());
    this.#since = this.#sample();
  }

  /** Undefined too soon after the `reset`. */
  read(): number | undefined {
    const { idleMs, atMs } = this.#sample();
    const ms = atMs - this.#since.atMs;
    return ms < LEAST_MS ? undefined : (idleMs - this.#since.idleMs) / ms;
  }

  reset(): void {
    this.#since = this.#sample();
  }

  #sample() {
    const idleMs = this.#cpus().reduce((sum, { times }) => sum + times.idle, 0);
    return { idleMs, atMs: this.#now() };
  }
}
