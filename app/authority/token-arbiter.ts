/**
 * The effects of the arbiter's rounds (arbiter.ts), one round per VM at a time: asks the provider
 * whether a host is gone, asks hosts, tells them what was decided. Nothing is kept between rounds.
 *
 * Invariants:
 * - Every question has a limit; a host that does not answer in it, or refuses, is silent.
 * - What cannot be told is not told again here: the doubt that remains brings the next round.
 */
import type { Logger } from 'pino';
import type { HostId, VmId } from '../../host-agent/protocol/ids.ts';
import type { AgentOutcome, AgentRequest } from '../../host-agent/protocol/messages.ts';
import type { RunLease, TokenVerdict } from '../../host-agent/protocol/token-messages.ts';
import { type ArbiterEffect, type ArbiterEvent, IDLE, stepArbiter } from './arbiter.ts';
import type { Answer } from './decide.ts';

export const MAX_ROUNDS_AT_ONCE = 64;
/** A round has at most this many steps: doubt, word, answer, lease. */
const MAX_STEPS = 8;

export type LeaseAnswer =
  | { readonly kind: 'leased'; readonly lease: RunLease }
  | { readonly kind: 'overtaken'; readonly below: number };

export interface ArbiterPorts {
  /** Rejects when the host is away or late. */
  request(hostId: HostId, request: AgentRequest): Promise<AgentOutcome>;
  /** Whether the provider says that the machine is no more; when it cannot be asked: false. */
  isGone(hostId: HostId): Promise<boolean>;
  /** Notes a lease, reads the VM's claim, in this order, and judges it (rewind.ts). */
  lease(
    vmId: VmId,
    token: { readonly hostId: HostId; readonly epoch: number },
  ): Promise<LeaseAnswer>;
  readonly logger: Logger;
}

export interface Told {
  readonly hostId: HostId;
  readonly verdict: TokenVerdict;
}

/** `told`: undefined when nothing could be decided yet. */
export type RoundResult =
  | { readonly kind: 'done'; readonly told: Told | undefined }
  /** A round of this VM is under way, or too many others are. */
  | { readonly kind: 'busy' };

export class TokenArbiter {
  readonly #ports: ArbiterPorts;
  readonly #underWay = new Set<VmId>();

  constructor(ports: ArbiterPorts) {
    this.#ports = ports;
  }

  /**
   * One round about a VM, starting with a host whose journal leaves something open. Rejects only
   * when a lease could neither be granted nor denied (the chunk store is away): nobody was told.
   */
  async settle(vmId: VmId, hostId: HostId): Promise<RoundResult> {
    if (this.#underWay.has(vmId) || this.#underWay.size >= MAX_ROUNDS_AT_ONCE) {
      return { kind: 'busy' };
    }
    this.#underWay.add(vmId);
    try {
      return { kind: 'done', told: await this.#round(vmId, hostId) };
    } finally {
      this.#underWay.delete(vmId);
    }
  }

  async #round(vmId: VmId, hostId: HostId): Promise<Told | undefined> {
    let state = IDLE;
    let event: ArbiterEvent | undefined = { kind: 'doubt', hostId };
    let told: Told | undefined;
    for (let steps = 0; event !== undefined && steps < MAX_STEPS; steps += 1) {
      const step = stepArbiter(state, event);
      if (step.kind === 'ignored') break;
      state = step.state;
      event = undefined;
      for (const effect of step.effects) {
        if (effect.kind === 'tell') told = effect;
        event = await this.#perform(vmId, effect);
      }
    }
    return told;
  }

  async #perform(vmId: VmId, effect: ArbiterEffect): Promise<ArbiterEvent | undefined> {
    const { hostId } = effect;
    switch (effect.kind) {
      case 'ask':
        return { kind: 'answer', hostId, answer: await this.#ask(vmId, hostId) };
      case 'lease':
        return await this.#ports.lease(vmId, effect);
      case 'tell':
        await this.#tell(vmId, effect);
        return undefined;
    }
  }

  /** The provider first: a host that is gone cannot be silent. */
  async #ask(vmId: VmId, hostId: HostId): Promise<Answer> {
    const ports = this.#ports;
    if (await ports.isGone(hostId).catch(() => false)) return { kind: 'gone' };
    try {
      const outcome = await ports.request(hostId, { kind: 'token-query', vmId });
      if (outcome.kind === 'taken' && outcome.word !== undefined) {
        return { kind: 'word', word: outcome.word };
      }
    } catch (error) {
      ports.logger.warn({ vmId, hostId, err: error }, 'host does not say who holds the VM');
    }
    return { kind: 'silent' };
  }

  async #tell(vmId: VmId, { hostId, verdict }: Told): Promise<void> {
    this.#ports.logger.warn({ vmId, hostId, verdict }, 'deciding who holds the VM');
    try {
      await this.#ports.request(hostId, { kind: 'token-decision', vmId, verdict });
    } catch (error) {
      this.#ports.logger.warn(
        { vmId, hostId, err: error },
        'host could not be told who holds the VM',
      );
    }
  }
}
