/**
 * A VM's leaving of this host: one attempt at a time. What is sequence is in migration/departure.ts,
 * what is decision is the token's; here is what one asks of the other.
 */
import type { Logger } from 'pino';
import type { TokenDriver } from '../authority/token-driver.ts';
import type { MovableVm } from '../migration/movable-vm.ts';
import type { MoveLog } from '../migration/move-log.ts';
import { sumLosses } from '../migration/packet-losses.ts';
import type { PacketSwitch } from '../migration/packet-switch.ts';
import type { DataEvent, Json } from '../migration/worker/data-commands.ts';
import { refused } from '../protocol/errors.ts';
import type { HostId, MigrationId } from '../protocol/ids.ts';
import type { AgentOutcome } from '../protocol/messages.ts';
import type { SendVm } from '../protocol/migration-messages.ts';
import { describeError, headOf } from './move-words.ts';

export interface DepartureSurroundings {
  readonly log: MoveLog;
  readonly logger: Logger;
  readonly call: (
    event: Parameters<TokenDriver['call']>[0],
  ) => Promise<Awaited<ReturnType<TokenDriver['call']>>>;
  /** What a target has to build (machine-facts.ts). Throws when the VM is over. */
  readonly facts: () => Json;
  /** The VM's packets, for the time of one move. */
  readonly packets: (move: SendVm) => PacketSwitch;
  readonly hearToken: (from: HostId, said: unknown) => void;
}

interface Departing {
  readonly move: SendVm;
  readonly stop: AbortController;
  readonly decided: PromiseWithResolvers<'released' | 'resumed'>;
  isGiven: boolean;
}

export class Departures {
  readonly #around: DepartureSurroundings;
  #current: Departing | undefined;

  constructor(around: DepartureSurroundings) {
    this.#around = around;
  }

  get isUnderWay(): boolean {
    return this.#current !== undefined;
  }

  /** In which the token is being given, or is. Undefined: nothing is given. */
  get givenEpoch(): number | undefined {
    return this.#current?.isGiven === true ? this.#current.move.epoch : undefined;
  }

  /** Answers at once; what becomes of it is in the log. The same move again changes nothing. */
  send(move: SendVm, movable: MovableVm | undefined): AgentOutcome {
    if (this.#current?.move.migrationId === move.migrationId) return { kind: 'taken' };
    if (this.#around.log.get(move.migrationId) !== undefined) return { kind: 'taken' };
    if (this.#current !== undefined) return refused('This VM is moving already.');
    if (movable?.isTracked !== true) return refused('This VM is not tracked yet.');
    const departing = {
      move,
      stop: new AbortController(),
      decided: Promise.withResolvers<'released' | 'resumed'>(),
      isGiven: false,
    };
    this.#current = departing;
    this.#around.log.begin({ ...headOf(move), role: 'source', peer: move.to });
    void this.#depart(movable, departing);
    return { kind: 'taken' };
  }

  /** Undefined when this move is not leaving here; refused once the token is given. */
  abort(migrationId: MigrationId, why: string): AgentOutcome | undefined {
    if (this.#current?.move.migrationId !== migrationId) return undefined;
    if (this.#current.isGiven) return refused('The token of this VM is given: it has moved.');
    this.#current.stop.abort(new Error(why));
    return { kind: 'taken' };
  }

  /** The VM is over here. */
  end(): void {
    this.#current?.stop.abort(new Error('the VM ends'));
  }

  /** The token's machine knows who has the VM. */
  decide(who: 'released' | 'resumed'): void {
    this.#current?.decided.resolve(who);
  }

  async #depart(movable: MovableVm, departing: Departing): Promise<void> {
    const { move, stop, decided } = departing;
    const { log, logger, call, facts, packets: openPackets } = this.#around;
    const packets = openPackets(move);
    let packetsLost: number | null = null;
    void packets.prepare();
    try {
      const outcome = await movable.depart(move, {
        facts: facts(),
        packets,
        token: {
          freeze: async (to) => {
            const answer = await call({ kind: 'freeze', move: to });
            return answer.kind === 'refused' ? refused(answer.why) : undefined;
          },
          give: async () => {
            departing.isGiven = true;
            const [dropped] = await Promise.all([packets.dropped(), call({ kind: 'hand-over' })]);
            const who = await decided.promise;
            if (who === 'released') packetsLost = sumLosses(dropped, packets.leftInTap());
            return who;
          },
          abort: async () => {
            await call({ kind: 'abort' });
          },
        },
        onPhase: (phase) => log.enter(move.migrationId, { phase }),
        onEvent: (event) => this.#hear(move, event),
        signal: stop.signal,
      });
      const { migrationId } = move;
      if (outcome.kind === 'stayed') {
        logger.warn({ migrationId, why: outcome.why }, 'the VM stays: its move was given up');
        log.enter(migrationId, { phase: 'aborted', why: outcome.why });
      } else {
        const { blackoutMs } = outcome;
        log.enter(migrationId, { phase: 'done', blackoutMs, packetsLost });
      }
    } catch (err) {
      logger.error({ err }, 'a move failed');
      log.enter(move.migrationId, { phase: 'aborted', why: describeError(err).slice(0, 500) });
    } finally {
      this.#current = undefined;
      await packets.close();
    }
  }

  #hear({ migrationId, to }: SendVm, event: DataEvent): void {
    if (event.kind === 'moving') this.#around.log.note(migrationId, event.figures);
    if (event.kind === 'told') this.#around.hearToken(to, event.message);
  }
}
