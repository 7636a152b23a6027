/**
 * The CPU of a VM that moves: less for a guest that leaves faster than its link takes what it writes,
 * in steps; for its QEMU, at the source and at the target, all there is while the guest stands still;
 * and its class's again when the move is over, whichever way. What fails here is logged: the move goes
 * on. QEMU's own threads share the guest's group: what it may have, it has for both.
 */
import type { Logger } from 'pino';
import {
  type CgroupVersion,
  type CpuClaim,
  cpuLimitsOf,
  probeCgroup,
  writeCpuLimits,
} from '../vm/cgroup.ts';
import type { VmStart } from '../vm/vm-driver.ts';
import { type CopyRates, planShare } from './plan-throttle.ts';

export class CpuThrottle {
  readonly #spec: Pick<VmStart, 'fleet' | 'place' | 'vmId' | 'class'>;
  readonly #logger: Logger;
  #share = 1;
  #version: Promise<CgroupVersion> | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(spec: Pick<VmStart, 'fleet' | 'place' | 'vmId' | 'class'>, logger: Logger) {
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

  /** The guest stands still, or is about to. Resolves when it is set; `restore` ends it. */
  async hurry(): Promise<void> {
    this.#claim('first');
    await this.#work;
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
    this.#claim(share);
  }

  #claim(claim: CpuClaim): void {
    this.#work = this.#work.then(async () => {
      try {
        this.#version ??= probeCgroup();
        await writeCpuLimits(cpuLimitsOf(this.#spec, { version: await this.#version, claim }));
      } catch (err) {
        this.#logger.warn({ err, claim }, "the VM's part of the CPU could not be set");
      }
    });
  }
}
