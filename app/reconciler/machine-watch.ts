/**
 * Which of the provider's machines have ended: those that it listed once and lists no more. One look
 * that lacks a machine may be a list that lags behind; GONE_LOOKS in a row are the provider's word.
 */
import type { ProviderHost } from '../providers/provider.ts';
import type { Evidence, FleetHost, Machines } from './ports.ts';

const GONE_LOOKS = 2;

export class MachineWatch implements Machines {
  readonly #evidence: Pick<Evidence, 'rememberMachine' | 'wasMachine'>;
  /** The newest last. */
  #looks: readonly ReadonlySet<string>[] = [];

  constructor(evidence: Pick<Evidence, 'rememberMachine' | 'wasMachine'>) {
    this.#evidence = evidence;
  }

  /** One complete list of the provider's. */
  note(machines: readonly ProviderHost[], nowMs: number): void {
    const known = this.#looks.at(-1);
    for (const { machineId } of machines)
      if (known?.has(machineId) !== true) this.#evidence.rememberMachine(machineId, nowMs);
    const look = new Set(machines.map(({ machineId }) => machineId));
    this.#looks = [...this.#looks, look].slice(-GONE_LOOKS);
  }

  /** A host is known to be a machine by its host name, which its provider gave it. */
  isGone({ hostname }: Pick<FleetHost, 'hostname'>): boolean {
    if (this.#looks.length < GONE_LOOKS) return false;
    const isListed = this.#looks.some((look) => look.has(hostname));
    return !isListed && this.#evidence.wasMachine(hostname);
  }
}
