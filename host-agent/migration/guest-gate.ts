/**
 * Whether the guest may be let run, while something holds it still: QEMU's own state is not enough to
 * know that by, and neither is the token's.
 *
 *   open ──hold──▶ held ──release──▶ open, and `cont` if the VM may run here now
 *                    └──keep──▶ shut: it never runs here again
 *
 * Invariant: nobody else runs `cont` while it is not open; who would have, finds it done by `release`.
 */
export interface GuestGate {
  hold(): void;
  /** Lets the guest run, unless it must not. Rejects with a QMP error. */
  release(): Promise<void>;
}

export interface GatePorts {
  /** The token is here, and the lease has not lapsed. */
  readonly mayRun: () => boolean;
  readonly cont: () => Promise<void>;
}

export class VmGate implements GuestGate {
  readonly #ports: GatePorts;
  #state: 'open' | 'held' | 'shut' = 'open';

  constructor(ports: GatePorts) {
    this.#ports = ports;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  hold(): void {
    if (this.#state === 'open') this.#state = 'held';
  }

  /** For good. */
  shut(): void {
    this.#state = 'shut';
  }

  async release(): Promise<void> {
    if (this.#state !== 'held') return;
    this.#state = 'open';
    if (this.#ports.mayRun()) await this.#ports.cont();
  }
}
