/**
 * The CPU of a guest that leaves faster than its link takes what it writes: less of it, in steps, and
 * all of it again when the move is over, whichever way. What fails here is logged: the move goes on.
 *
 * QEMU's own threads share the guest's group, so whoever stops the guest gives it back its CPU: the
 * last bytes are QEMU's to send.
 */
import type { Logger } from 'pino';
import { type CgroupVersion, cpuQuotaOf, probeCgroup, writeCpuQuota } from '../vm/cgroup.ts';
import type { VmStart } from '../vm/vm-driver.ts';
import { type CopyRates, planShare } from './plan-throttle.ts';

export class CpuThrottle {
  readonly #spec: VmStart;
  readonly #logger: Logger;
  #share = 1;
  #version: Promise<CgroupVersion> | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(spec: VmStart, logger: Logger) {
    this.#spec = spec;
    this.#logger = logger;
  }

  /** The part of its CPU that the guest has now. */
  get share(): number {
    return this.#share;
  }

  set(share: number): void {
    if (share !== this.#share) this.#apply(share);
  }

  slower(rates: CopyRates): void {
    const share = planShare(this.#share, rates);
    if (share === this.#share) return;
    this.#logger.info({ share, ...rates }, 'the guest writes faster than its link: slowed down');
    this.#apply(share);
  }

  /** Also when nothing is known to be set: an agent that was killed may have left it so. */
  restore(): void {
    this.#apply(1);
  }

  /** Resolves when what was asked for is set. */
  settled(): Promise<void> {
    return this.#work;
  }

  #apply(share: number): void {
    this.#share = share;
    this.#work = this.#work.then(async () => {
      try {
        this.#version ??= probeCgroup();
        await writeCpuQuota(cpuQuotaOf(this.#spec, { version: await this.#version, share }));
      } catch (err) {
        this.#logger.warn({ err, share }, "the guest's CPU could not be limited");
      }
    });
  }
}
