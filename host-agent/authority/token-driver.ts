/**
 * Runs the effects of one VM's token on this host: the source's or the target's machine, whichever
 * the journal calls for, and from one to the other when the token is received.
 *
 *   event ──→ queue ──→ step ──→ effects, one after the other ──→ next event
 *
 * Invariants:
 * - One event at a time, in the order of their arrival, each with all its effects.
 * - A journal entry is on disk before the next effect; one that failed is written again, after
 *   a pause that grows to its limit, before anything else.
 * - An effect that fails, and those after it, are tried again before the next event is taken.
 * - A guest that cannot be resumed is the exception: that is the VM's own trouble, which ends it. One
 *   that has not run here yet, and surely never will, goes back to its source.
 * - Bounded: the queue, and what does not fit it is dropped as if the network had lost it.
 */
import type { Logger } from 'pino';
import type { TokenEntry } from '../journal/token.ts';
import { ArchitectError } from '../protocol/errors.ts';
import type { HostId } from '../protocol/ids.ts';
import type {
  PeerMove,
  TokenMessage,
  TokenVerdict,
  TokenWord,
} from '../protocol/token-messages.ts';
import type { RecoveredToken } from './recover-token.ts';
import { type BoundLease, bindLease, type HostClocks, leaseAllows } from './run-lease.ts';
import { mayRun, type SourceEvent, type SourceToken, stepSource } from './source-token.ts';
import {
  beginReservation,
  stepTarget,
  type TargetEvent,
  type TargetToken,
} from './target-token.ts';
import type { TokenEffect, TokenStep } from './token-step.ts';
import { wordOfSource, wordOfTarget } from './token-word.ts';

export const MAX_QUEUED_EVENTS = 64;

/** What a token needs of the VM that it is about. */
export interface TokenPorts {
  /** On disk when it resolves; rejects when it may not be. */
  journal(entry: TokenEntry): Promise<void>;
  /** To the other agent, best effort: returns at once, may be lost. */
  send(to: HostId, message: TokenMessage): void;
  /** The control plane is to ask both hosts; best effort, too. */
  askArbiter(): void;
  /** QMP `cont`: resolves when the guest runs. */
  resume(): Promise<void>;
  /** Whether the QEMU of a guest that has not run here yet has ended: then it is not resumed. */
  hasEnded(): Promise<boolean>;
  /** QMP `stop`: resolves when the guest stands still. */
  halt(): Promise<void>;
  /** The guest's packets from this host count no more. */
  fence(): Promise<void>;
  /** Ends QEMU and removes the VM's folder, then its journal. Idempotent. */
  remove(): Promise<void>;
}

export interface TokenSurroundings {
  readonly ports: TokenPorts;
  readonly clocks: () => HostClocks;
  /** Waits before attempt number `attempt` at a failed write. Bounded. */
  readonly pause: (attempt: number) => Promise<void>;
  readonly logger: Logger;
}

export type TokenMachine =
  | { readonly role: 'source'; readonly state: SourceToken }
  | { readonly role: 'target'; readonly state: TargetToken };

/** `ignored`: it means nothing here and now, which is not an error. */
export type TokenOutcome =
  | { readonly kind: 'done'; readonly machine: TokenMachine }
  | { readonly kind: 'ignored' }
  | { readonly kind: 'refused'; readonly why: string };

export class TokenQueueFullError extends ArchitectError {
  readonly code = 'TOKEN_QUEUE_FULL';
  readonly retry = 'later';
}

/** What the engine and the VM's supervisor say; the rest comes from messages and verdicts. */
export type SourceCall = Extract<
  SourceEvent,
  { readonly kind: 'freeze' | 'hand-over' | 'abort' | 'ended' }
>;
export type TargetCall = Extract<TargetEvent, { readonly kind: 'loaded' | 'refuse' }>;

type Work = () => Promise<TokenOutcome>;

export class TokenDriver {
  readonly #around: TokenSurroundings;
  #machine: TokenMachine;
  #lease: BoundLease | null = null;
  /** The guest stands still for its lease, and for nothing else. */
  #lapsed = false;
  #failedWrites = 0;
  #undone: readonly TokenEffect[] = [];
  #tail: Promise<unknown> = Promise.resolve();
  #queued = 0;

  private constructor(machine: TokenMachine, around: TokenSurroundings) {
    this.#machine = machine;
    this.#around = around;
    this.#bind();
  }

  /** A VM that starts here: its journal is written by the caller, before. */
  static holding(state: Extract<SourceToken, { kind: 'holding' }>, around: TokenSurroundings) {
    return new TokenDriver({ role: 'source', state }, around);
  }

  /** After a restart; runs what recover-token.ts asks for. */
  static recovered(token: RecoveredToken, around: TokenSurroundings): TokenDriver {
    const driver = new TokenDriver(
      token.role === 'source'
        ? { role: 'source', state: token.state }
        : { role: 'target', state: token.state },
      around,
    );
    driver.#undone = token.effects;
    driver.word().catch(() => undefined);
    return driver;
  }

  /** Reserves this host for a move; `outcome` resolves when that is on disk, or failed (`isOver`). */
  static reserving(move: PeerMove, around: TokenSurroundings) {
    const { state, effects } = beginReservation(move);
    const driver = new TokenDriver({ role: 'target', state }, around);
    driver.#undone = effects;
    const outcome = driver.word().then(() => driver.machine);
    return { driver, outcome };
  }

  /** Nothing waits and nothing is under way. */
  get isIdle(): boolean {
    return this.#queued === 0;
  }

  /** Nothing of the VM is left here: the driver is done with. */
  get isOver(): boolean {
    const { kind } = this.#machine.state;
    return (kind === 'released' || kind === 'dropped') && this.#undone.length === 0;
  }

  get machine(): TokenMachine {
    return this.#machine;
  }

  /** The token lets the guest run here, and the lease does. */
  get mayRun(): boolean {
    const { machine } = this;
    if (machine.role !== 'source' || !mayRun(machine.state)) return false;
    return leaseAllows(this.#lease, this.#around.clocks());
  }

  /** When the guest has to stand still, on the monotonic clock; undefined: no lease binds it. */
  get runsUntilMonotonicMs(): number | undefined {
    return this.#lease?.untilMonotonicMs;
  }

  /** A call of the engine or the supervisor; resolves when all its effects are done. */
  async call(event: SourceCall | TargetCall): Promise<TokenOutcome> {
    return await this.#enter(async () => await this.#take(event));
  }

  /** From the other agent. */
  async hear(from: HostId, message: TokenMessage): Promise<TokenOutcome> {
    return await this.#enter(async () => await this.#take({ kind: 'message', from, message }));
  }

  /** From the control plane. */
  async tell(verdict: TokenVerdict): Promise<TokenOutcome> {
    const { kind } = verdict;
    const event = kind === 'relay' ? ({ ...verdict, kind: 'message' } as const) : verdict;
    return await this.#enter(async () => await this.#take(event));
  }

  /** To be called now and then while something is open. */
  async remind(): Promise<TokenOutcome> {
    return await this.#enter(async () => await this.#take({ kind: 'resend' }));
  }

  /** The other host has been silent for too long. */
  async doubt(): Promise<TokenOutcome> {
    return await this.#enter(async () => await this.#take({ kind: 'doubt' }));
  }

  /** The journal's word, once what was queued before is done. */
  async word(): Promise<TokenWord | undefined> {
    await this.#enter(async () => ({ kind: 'ignored' }));
    const { machine } = this;
    return machine.role === 'source' ? wordOfSource(machine.state) : wordOfTarget(machine.state);
  }

  /** To be called when `runsUntilMonotonicMs` has come, and after the clocks were set. */
  async checkLease(): Promise<void> {
    await this.#enter(async () => {
      const { machine } = this;
      const isHeld = machine.role === 'source' && mayRun(machine.state);
      if (isHeld && !this.#lapsed && !leaseAllows(this.#lease, this.#around.clocks())) {
        await this.#around.ports.halt();
        this.#lapsed = true;
      }
      return { kind: 'ignored' };
    });
  }

  async #enter(work: Work): Promise<TokenOutcome> {
    if (this.#queued >= MAX_QUEUED_EVENTS) {
      throw new TokenQueueFullError(
        `The token has ${MAX_QUEUED_EVENTS} events waiting. Say it again.`,
      );
    }
    this.#queued += 1;
    const done = this.#tail
      .then(async () => await this.#run([]))
      .then(work)
      .finally(() => {
        this.#queued -= 1;
      });
    this.#tail = done.catch((error: unknown) => {
      this.#around.logger.error({ err: error }, 'an effect of the token failed');
    });
    return await done;
  }

  async #take(event: SourceEvent | TargetEvent): Promise<TokenOutcome> {
    const step = this.#step(event);
    if (step.kind !== 'moved') return step;
    return await this.#run(step.effects);
  }

  async #run(effects: readonly TokenEffect[]): Promise<TokenOutcome> {
    this.#undone = [...this.#undone, ...effects];
    for (let [effect] = this.#undone; effect !== undefined; [effect] = this.#undone) {
      await this.#perform(effect);
    }
    if (this.#lapsed && this.mayRun) await this.#resume();
    return { kind: 'done', machine: this.#machine };
  }

  async #perform(effect: TokenEffect): Promise<void> {
    const rest = this.#undone.slice(1);
    if (effect.kind === 'journal' || effect.kind === 'run') {
      const kind = effect.kind === 'run' ? await this.#runFirst() : await this.#journal(effect);
      const step = this.#step({ kind });
      this.#undone = [...(step.kind === 'moved' ? step.effects : []), ...rest];
      return;
    }
    await this.#act(effect);
    this.#undone = rest;
  }

  async #journal({ entry, again }: Extract<TokenEffect, { readonly kind: 'journal' }>) {
    const { ports, pause, logger } = this.#around;
    if (again) await pause(this.#failedWrites);
    try {
      await ports.journal(entry);
      this.#failedWrites = 0;
      return 'journalled';
    } catch (error) {
      this.#failedWrites += 1;
      logger.error({ err: error, epoch: entry.epoch }, 'the token cannot be journalled');
      return 'journal-failed';
    }
  }

  /** `never-ran` only when `cont` was not sent and will not be. */
  async #runFirst(): Promise<'ran' | 'never-ran'> {
    if (await this.#around.ports.hasEnded()) return 'never-ran';
    await this.#resume();
    return 'ran';
  }

  async #act(effect: Exclude<TokenEffect, { readonly kind: 'journal' | 'run' }>): Promise<void> {
    const { ports } = this.#around;
    switch (effect.kind) {
      case 'send':
        return ports.send(effect.to, effect.message);
      case 'ask-arbiter':
        return ports.askArbiter();
      case 'resume':
        return await this.#resume();
      case 'fence':
        return await ports.fence();
      case 'remove':
        return await ports.remove();
    }
  }

  async #resume(): Promise<void> {
    const { ports, clocks, logger } = this.#around;
    this.#lapsed = !leaseAllows(this.#lease, clocks());
    if (this.#lapsed) return;
    try {
      await ports.resume();
    } catch (error) {
      logger.error({ err: error }, 'the guest cannot be resumed');
    }
  }

  #step(event: SourceEvent | TargetEvent): TokenStep<TokenMachine['state']> {
    const { machine } = this;
    if (machine.role === 'source') {
      if (!isForSource(event)) return { kind: 'ignored' };
      const step = stepSource(machine.state, event);
      if (step.kind === 'moved') this.#become({ role: 'source', state: step.state });
      return step;
    }
    if (!isForTarget(event)) return { kind: 'ignored' };
    const step = stepTarget(machine.state, event);
    if (step.kind === 'moved') this.#become(asSource(step.state));
    return step;
  }

  #become(machine: TokenMachine): void {
    this.#machine = machine;
    this.#bind();
  }

  #bind(): void {
    const { machine } = this;
    if (!('tenure' in machine.state)) return;
    const { lease } = machine.state.tenure;
    if (lease?.untilMs === this.#lease?.untilMs) return;
    this.#lease = lease === null ? null : bindLease(lease, this.#around.clocks());
  }
}

/** A target that has received goes on as a source. */
function asSource(state: TargetToken): TokenMachine {
  if (state.kind !== 'received') return { role: 'target', state };
  return { role: 'source', state: { kind: 'holding', tenure: state.tenure } };
}

const TARGET_ONLY = ['ran', 'never-ran', 'loaded', 'refuse', 'void'] as const;
const SOURCE_ONLY = ['freeze', 'hand-over', 'abort', 'regrant', 'lease', 'ended'] as const;

function isForSource(event: SourceEvent | TargetEvent): event is SourceEvent {
  return !TARGET_ONLY.some((kind) => kind === event.kind);
}

function isForTarget(event: SourceEvent | TargetEvent): event is TargetEvent {
  return !SOURCE_ONLY.some((kind) => kind === event.kind);
}

/** Somebody else's word is needed. */
export function isOpen({ state }: TokenDriver['machine']): boolean {
  if (state.kind === 'holding') return state.tenure.from !== null;
  return state.kind === 'given' || state.kind === 'refused';
}
