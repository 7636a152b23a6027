/**
 * The tokens of all VMs on this host, by VM: hands each message and verdict to its driver, answers
 * for VMs that have no journal here, and says what is open.
 *
 * Invariants:
 * - A VM with a journal has a driver here, from its start, its reservation or the agent's recovery
 *   on: for any other VM the answer is that nothing is known of it, and others act on that.
 * - At most one driver per VM; a reservation takes a refusal's place only when nothing of it is
 *   under way and its epoch is over.
 */

import { type Refused, refused } from '../protocol/errors.ts';
import type { HostId, VmId } from '../protocol/ids.ts';
import type { AgentOutcome, AgentRequest, TokenReport } from '../protocol/messages.ts';
import type {
  PeerMove,
  TokenMessage,
  TokenVerdict,
  TokenWord,
} from '../protocol/token-messages.ts';
import { TokenDriver, type TokenMachine, type TokenSurroundings } from './token-driver.ts';
import { answerWithoutJournal } from './token-step.ts';
import { wordOfSource, wordOfTarget } from './token-word.ts';

export type TokenRequest = Extract<
  AgentRequest,
  { readonly kind: 'token-query' | 'token-decision' }
>;

export type ReserveOutcome = { readonly kind: 'reserved'; readonly driver: TokenDriver } | Refused;

export class TokenDesk {
  readonly #drivers = new Map<VmId, TokenDriver>();
  readonly #doubted = new Set<VmId>();

  /** For a VM that starts here or that an earlier agent left; throws if it has a driver. */
  open(vmId: VmId, driver: TokenDriver): void {
    if (this.#drivers.has(vmId)) throw new Error(`VM ${vmId} has a token here already`);
    this.#drivers.set(vmId, driver);
  }

  /** Its end was read and its journal is gone. */
  close(vmId: VmId): void {
    this.#drivers.delete(vmId);
    this.#doubted.delete(vmId);
  }

  driverOf(vmId: VmId): TokenDriver | undefined {
    return this.#drivers.get(vmId);
  }

  /** Reserves this host for the VM: on disk when it resolves. */
  async reserve(vmId: VmId, move: PeerMove, around: TokenSurroundings): Promise<ReserveOutcome> {
    const before = this.#drivers.get(vmId);
    await before?.word();
    const current = this.#drivers.get(vmId);
    if (current !== undefined && !isOverBy(current, move)) {
      return refused(`This host has the VM ${vmId}, or still has something of it.`);
    }
    const { driver, outcome } = TokenDriver.reserving(move, around);
    this.#drivers.set(vmId, driver);
    const { state } = await outcome;
    if (state.kind === 'reserved') return { kind: 'reserved', driver };
    this.#forgetIfOver(vmId, driver);
    return refused(`This host cannot journal that it reserves itself for the VM ${vmId}.`);
  }

  /** What the control plane asks or decides. */
  async serve(request: TokenRequest): Promise<AgentOutcome> {
    const { vmId } = request;
    const driver = this.#drivers.get(vmId);
    if (driver === undefined) return { kind: 'taken', word: { kind: 'none' } };
    if (request.kind === 'token-decision') await this.#tell(vmId, driver, request.verdict);
    const word = await this.#wordOf(vmId, driver);
    return word === undefined ? refused('The journal is being written.') : { kind: 'taken', word };
  }

  /** From the other agent; the answer, if one is due that no driver gives. */
  async hear(vmId: VmId, from: HostId, message: TokenMessage): Promise<TokenMessage | undefined> {
    const driver = this.#drivers.get(vmId);
    if (driver === undefined) return answerWithoutJournal(message);
    await driver.hear(from, message);
    this.#forgetIfOver(vmId, driver);
    return undefined;
  }

  /** The agent wants the control plane to ask; shown until nothing is open any more. */
  noteDoubt(vmId: VmId): void {
    this.#doubted.add(vmId);
  }

  /** What belongs into a report: tokens that are not plainly held, and those that need a lease. */
  reports(): readonly TokenReport[] {
    return [...this.#drivers].flatMap(([vmId, { machine }]) => {
      const word = wordNow(machine);
      if (word === undefined || isPlain(word)) return [];
      return [{ vmId, word, doubt: this.#doubted.has(vmId) }];
    });
  }

  async #tell(vmId: VmId, driver: TokenDriver, verdict: TokenVerdict): Promise<void> {
    await driver.tell(verdict);
    this.#doubted.delete(vmId);
    this.#forgetIfOver(vmId, driver);
  }

  async #wordOf(vmId: VmId, driver: TokenDriver): Promise<TokenWord | undefined> {
    const word = await driver.word();
    return this.#drivers.get(vmId) === driver ? word : { kind: 'none' };
  }

  #forgetIfOver(vmId: VmId, driver: TokenDriver): void {
    if (driver.isOver && this.#drivers.get(vmId) === driver) this.close(vmId);
  }
}

function isOverBy({ machine, isIdle }: TokenDriver, move: PeerMove): boolean {
  const { state } = machine;
  return isIdle && state.kind === 'refused' && state.move.epoch < move.epoch;
}

function wordNow(machine: TokenMachine): TokenWord | undefined {
  return machine.role === 'source' ? wordOfSource(machine.state) : wordOfTarget(machine.state);
}

function isPlain(word: TokenWord): boolean {
  if (word.kind === 'holds') return word.from === null && word.lease === null;
  return word.kind === 'none' || word.kind === 'ended';
}
