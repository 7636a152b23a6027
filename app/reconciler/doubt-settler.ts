/**
 * Has doubts about tokens settled by the arbiter (app/authority), beside the ticks: one round per VM
 * at a time, and none within RETRY_MS of the VM's last one. What stays open comes up again.
 */

import type { HostId, VmId } from '../../host-agent/protocol/ids.ts';
import { TokenArbiter } from '../authority/token-arbiter.ts';
import type { ExecutorPorts } from './executor.ts';
import type { Doubt } from './find-doubts.ts';
import { noteLease } from './lease-keeper.ts';

const RETRY_MS = 2_000;

export type SettlerPorts = Pick<
  ExecutorPorts,
  'store' | 'evidence' | 'fleet' | 'machines' | 'now' | 'logger' | 'signal'
>;

export class DoubtSettler {
  readonly #ports: SettlerPorts;
  readonly #onDecided: () => void;
  readonly #arbiter: TokenArbiter;
  readonly #lastAtMs = new Map<VmId, number>();
  readonly #rounds = new Set<Promise<void>>();

  constructor(ports: SettlerPorts, onDecided: () => void) {
    this.#ports = ports;
    this.#onDecided = onDecided;
    const { fleet, logger, signal } = ports;
    this.#arbiter = new TokenArbiter({
      request: (hostId, request) => fleet.request(hostId, request, signal),
      isGone: async (hostId) => this.#isGone(hostId),
      lease: async (vmId, token) => {
        const answer = await noteLease(ports, { vmId, ...token });
        if (answer === undefined) throw new Error(`There is no record of ${vmId} to lease it by.`);
        return answer;
      },
      logger,
    });
  }

  /** Returns at once. */
  settle(doubts: readonly Doubt[]): void {
    const nowMs = this.#ports.now();
    for (const [vmId, atMs] of this.#lastAtMs)
      if (nowMs - atMs >= RETRY_MS) this.#lastAtMs.delete(vmId);
    for (const doubt of doubts) {
      if (this.#lastAtMs.has(doubt.vmId)) continue;
      this.#lastAtMs.set(doubt.vmId, nowMs);
      const round = this.#settleOne(doubt);
      this.#rounds.add(round);
      void round.finally(() => this.#rounds.delete(round));
    }
  }

  /** Resolves when no round is under way. */
  async drained(): Promise<void> {
    await Promise.all(this.#rounds);
  }

  async #settleOne({ vmId, hostId }: Doubt): Promise<void> {
    try {
      const result = await this.#arbiter.settle(vmId, hostId);
      if (result.kind === 'done' && result.told !== undefined) this.#onDecided();
    } catch (err) {
      this.#ports.logger.error({ err, vmId, hostId }, 'a doubt about a VM could not be settled');
    }
  }

  /** A host that talks is there, whatever its provider's list says. */
  #isGone(hostId: HostId): boolean {
    const host = this.#ports.fleet.hosts().find(({ id }) => id === hostId);
    return host?.state === 'away' && (this.#ports.machines?.isGone(host) ?? false);
  }
}
