/**
 * How many of the host's cores nobody uses, on average since the last `reset` (proc_uptime(5): seconds
 * since the boot, and how many all cores together were idle of them). `os.cpus` would say it too, but
 * reads each core's frequency for it, which is slow where there are many.
 */
import { readFileSync } from 'node:fs';

/** The kernel counts in ticks of 10 ms: over less time the answer says nothing. */
const LEAST_S = 0.1;

export class IdleCores {
  readonly #readUptime: () => string;
  #since: { readonly upS: number; readonly idleS: number };

  constructor(readUptime = () => readFileSync('/proc/uptime', 'latin1')) {
    this.#readUptime = readUptime;
    this.#since = this.#sample();
  }

  /** Undefined too soon after the `reset`, and where the kernel does not say it. */
  read(): number | undefined {
    const { upS, idleS } = this.#sample();
    const seconds = upS - this.#since.upS;
    return seconds >= LEAST_S ? (idleS - this.#since.idleS) / seconds : undefined;
  }

  reset(): void {
    this.#since = this.#sample();
  }

  #sample() {
    const [upS = Number.NaN, idleS = Number.NaN] = this.#readUptime().split(' ').map(Number);
    return { upS, idleS };
  }
}
