/**
 * The moving of one VM on this host: its token, and whichever sequence is under way.
 *
 *   reserved ─▶ arriving ─▶ loaded ─▶ token received ─▶ runs here, tracked
 *                                                        │ send-vm
 *                                     stayed ◀── departing ──▶ token received there ─▶ vanished
 *
 * Decisions are the token's machine's (host-agent/authority) and the planner's; here is what carries
 * them out. Only one sequence at a time; a second request for the same move is answered alike.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { recoverToken } from '../authority/recover-token.ts';
import type { HostClocks } from '../authority/run-lease.ts';
import type { TokenDesk } from '../authority/token-desk.ts';
import { TokenDriver, type TokenPorts, type TokenSurroundings } from '../authority/token-driver.ts';
import { type ArrivedVm, ArrivingVm } from '../migration/arriving-vm.ts';
import { markDiskWrites } from '../migration/disk/disk-tracking.ts';
import type { Mobility } from '../migration/mobility.ts';
import { MovableVm } from '../migration/movable-vm.ts';
import type { MoveLog } from '../migration/move-log.ts';
import { markSwitchover } from '../migration/switchover-trace.ts';
import type { DataEvent } from '../migration/worker/data-commands.ts';
import { refused } from '../protocol/errors.ts';
import type { HostId, MigrationId } from '../protocol/ids.ts';
import type { AgentOutcome } from '../protocol/messages.ts';
import type {
  AbortMigration,
  ReceiveVm,
  SendVm,
  TrackingReport,
} from '../protocol/migration-messages.ts';
import { type PeerMove, TokenMessage } from '../protocol/token-messages.ts';
import { driveArrived } from '../vm/driver.ts';
import { connectGuestAgent } from '../vm/guest-agent/guest-agent.ts';
import { OVERLAY_NODE } from '../vm/qemu-arguments.ts';
import type { VmStart } from '../vm/vm-driver.ts';
import { vmFiles } from '../vm/vm-files.ts';
import type { MovingStay } from './moving-stay.ts';
import type { OpenPool } from './pool-artifacts.ts';
import type { Networks } from './ports.ts';

const GUEST_CONNECT_MS = 10_000;
const REMIND_MS = 1_000;
/** From a VM's start to its tracking: its first steps are over, and little is lost with it. */
const SETTLE_MS = 4_000;
/** Reminders without an answer until the control plane is to ask. */
const DOUBT_AFTER = 5;
/** For the last word to the other agent, and its answer. */
const LINGER_MS = 5_000;
const RETRY_BASE_MS = 100;
const RETRY_LIMIT_MS = 5_000;

export interface MovesParts {
  readonly stay: MovingStay;
  readonly desk: TokenDesk;
  readonly mobility: Mobility;
  readonly networks: Pick<Networks, 'ensure'>;
  readonly log: MoveLog;
  readonly clocks: () => HostClocks;
  readonly logger: Logger;
  readonly onChange: () => void;
}

interface Departing {
  readonly move: SendVm;
  readonly stop: AbortController;
  readonly decided: PromiseWithResolvers<'released' | 'resumed'>;
}

export class VmMoves {
  readonly #parts: MovesParts;
  #movable: MovableVm | undefined;
  #tracking: Promise<void> | undefined;
  #departing: Departing | undefined;
  #arriving: { readonly move: PeerMove; readonly vm: ArrivingVm } | undefined;
  #arrived: ArrivedVm | undefined;
  /** It arrived and runs: what received it is the VM's own now. */
  #isHere = false;
  #liveSinceMs: number | undefined;
  #reminders = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(parts: MovesParts) {
    this.#parts = parts;
    const { journal } = parts.stay;
    if (journal.holder.kind === 'self') {
      const { epoch, lease, holder } = journal;
      const tenure = { epoch, from: holder.from, lease };
      const holding = { kind: 'holding', tenure } as const;
      parts.desk.open(journal.vmId, TokenDriver.holding(holding, this.#surroundings()));
      if (journal.ended !== null) this.noteEnd();
    }
    this.#timer = setInterval(() => void this.#remind().catch(() => undefined), REMIND_MS);
    this.#timer.unref();
  }

  /** A journal that says something else than `self`: nothing is touched before the answer came. */
  recover(): void {
    const { desk, stay } = this.#parts;
    const recovered = recoverToken(stay.journal, false);
    desk.open(stay.journal.vmId, TokenDriver.recovered(recovered, this.#surroundings()));
  }

  /** Its journal says that the VM has ended: whoever asks is told so. */
  noteEnd(): void {
    this.#call({ kind: 'ended' }).catch(() => undefined);
  }

  report(): TrackingReport | undefined {
    return this.#movable?.report();
  }

  /** Tracks what can be tracked, a little after its start: then its job needs the processor more. */
  #track(): void {
    const live = this.#parts.stay.driver()?.live();
    if (live === undefined || this.#movable !== undefined || this.#tracking !== undefined) return;
    this.#liveSinceMs ??= performance.now();
    if (performance.now() - this.#liveSinceMs < SETTLE_MS) return;
    const { mobility, logger, onChange } = this.#parts;
    this.#tracking = MovableVm.begin({ live, mobility, logger, onChange })
      .then((movable) => {
        this.#movable = movable;
      })
      .catch((err: unknown) => logger.error({ err }, 'the VM cannot be tracked: it cannot move'));
  }

  send(move: SendVm): AgentOutcome {
    if (this.#departing?.move.migrationId === move.migrationId) return { kind: 'taken' };
    if (this.#parts.log.get(move.migrationId) !== undefined) return { kind: 'taken' };
    if (this.#departing !== undefined) return refused('This VM is moving already.');
    const movable = this.#movable;
    if (movable?.isTracked !== true) return refused('This VM is not tracked yet.');
    const departing = {
      move,
      stop: new AbortController(),
      decided: Promise.withResolvers<'released' | 'resumed'>(),
    };
    this.#departing = departing;
    this.#parts.log.begin({ ...headOf(move), role: 'source', peer: move.to });
    void this.#depart(movable, departing);
    return { kind: 'taken' };
  }

  /** Resolves when the source may dial. */
  async receive(
    request: ReceiveVm,
    how: {
      readonly pool: OpenPool;
      readonly here: Pick<VmStart, 'vmDir' | 'fleet'> & { readonly place: string };
    },
  ): Promise<AgentOutcome> {
    const { migrationId, epoch, from: hostId } = request;
    const { log, mobility, networks, logger, desk } = this.#parts;
    const move: PeerMove = { migrationId, epoch, hostId };
    await mobility.keys.put(request.vmId, request.key);
    const reserved = await desk.reserve(request.vmId, move, this.#surroundings());
    if (reserved.kind === 'refused') return reserved;
    log.begin({ ...headOf(request), role: 'target', peer: hostId });
    try {
      const onEvent = (event: DataEvent) => this.#hearArrival(migrationId, event);
      const parts = { request, mobility, networks, logger, onEvent, ...how };
      const { arriving, peer } = await ArrivingVm.open(parts);
      this.#arriving = { move, vm: arriving };
      void this.#awaitLoaded(arriving);
      return { kind: 'taken', peer };
    } catch (error) {
      await this.#refuse(describe(error));
      throw error;
    }
  }

  async abort({ migrationId, why }: AbortMigration): Promise<AgentOutcome> {
    if (this.#departing?.move.migrationId === migrationId) {
      this.#departing.stop.abort(new Error(why));
      return { kind: 'taken' };
    }
    if (this.#arriving?.move.migrationId !== migrationId) return { kind: 'taken' };
    await this.#refuse(why);
    return { kind: 'taken' };
  }

  /** The VM is over here, or the agent ends: nothing is moved or tracked any more. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    this.#departing?.stop.abort(new Error('the VM ends'));
    await this.#tracking;
    await this.#movable?.end();
    if (this.#arriving !== undefined && !this.#isHere) await this.#arriving.vm.remove();
  }

  /** The VM is another host's. What is said last still gets its time to arrive there. */
  async remove(): Promise<void> {
    if (this.#arriving !== undefined && !this.#isHere) await this.#arriving.vm.remove();
    await this.#parts.mobility.keys.remove(this.#parts.stay.journal.vmId);
    void sleep(LINGER_MS, undefined, { ref: false }).then(() => this.end());
  }

  async #depart(movable: MovableVm, departing: Departing): Promise<void> {
    const { move, stop, decided } = departing;
    const { log, logger } = this.#parts;
    try {
      const outcome = await movable.depart(move, {
        token: {
          freeze: async (to) => {
            const answer = await this.#call({ kind: 'freeze', move: to });
            return answer.kind === 'refused' ? answer : undefined;
          },
          give: async () => {
            await this.#call({ kind: 'hand-over' });
            return await decided.promise;
          },
          abort: async () => {
            await this.#call({ kind: 'abort' });
          },
        },
        onPhase: (phase) => log.enter(move.migrationId, { phase }),
        onEvent: (event) => this.#hearDeparture(move, event),
        signal: stop.signal,
      });
      const { migrationId } = move;
      if (outcome.kind === 'stayed') {
        logger.warn({ migrationId, why: outcome.why }, 'the VM stays: its move was given up');
        log.enter(migrationId, { phase: 'aborted', why: outcome.why });
      } else log.enter(migrationId, { phase: 'done', blackoutMs: outcome.blackoutMs });
    } catch (err) {
      logger.error({ err }, 'a move failed');
      log.enter(move.migrationId, { phase: 'aborted', why: describe(err).slice(0, 500) });
    } finally {
      this.#departing = undefined;
    }
  }

  #hearDeparture({ migrationId, to }: SendVm, event: DataEvent): void {
    if (event.kind === 'moving') this.#parts.log.note(migrationId, event.figures);
    if (event.kind === 'told') this.#hearToken(to, event.message);
  }

  #hearArrival(migrationId: MigrationId, event: DataEvent): void {
    const { log } = this.#parts;
    if (event.kind === 'moving') log.note(migrationId, event.figures);
    if (event.kind === 'machine') log.enter(migrationId, { phase: 'precopy' });
    if (event.kind === 'told' && this.#arriving !== undefined) {
      this.#hearToken(this.#arriving.move.hostId, event.message);
    }
  }

  #hearToken(from: HostId, said: unknown): void {
    const message = TokenMessage.safeParse(said);
    if (!message.success) return;
    this.#reminders = 0;
    const { desk, stay, logger } = this.#parts;
    desk
      .hear(stay.journal.vmId, from, message.data)
      .then((answer) => {
        if (answer !== undefined) this.#send(from, answer);
      })
      .catch((err: unknown) => logger.error({ err }, 'a word about the token was not taken'));
  }

  async #awaitLoaded(arriving: ArrivingVm): Promise<void> {
    try {
      const arrived = await arriving.loaded;
      await markDiskWrites(arrived.qmp, OVERLAY_NODE);
      this.#arrived = arrived;
      await this.#call({ kind: 'loaded' });
      await arrived.data.call('loaded');
    } catch (error) {
      await this.#refuse(describe(error));
    }
  }

  /** Before the token is here: it will not come, for good. */
  async #refuse(why: string): Promise<void> {
    const arriving = this.#arriving;
    if (arriving !== undefined) {
      this.#parts.log.enter(arriving.move.migrationId, {
        phase: 'aborted',
        why: why.slice(0, 500),
      });
    }
    arriving?.vm.hangUp(why);
    await this.#call({ kind: 'refuse', why: why.slice(0, 500) });
  }

  get #token(): TokenDriver | undefined {
    return this.#parts.desk.driverOf(this.#parts.stay.journal.vmId);
  }

  async #call(event: Parameters<TokenDriver['call']>[0]) {
    return (await this.#token?.call(event)) ?? refused('This VM has no token here.');
  }

  #surroundings(): TokenSurroundings {
    const { clocks, logger } = this.#parts;
    const pause = async (attempt: number) => {
      await sleep(Math.min(RETRY_LIMIT_MS, RETRY_BASE_MS * 2 ** attempt));
    };
    return { ports: this.#ports(), clocks, pause, logger };
  }

  #ports(): TokenPorts {
    const { stay, desk, onChange } = this.#parts;
    return {
      journal: async (entry) => {
        await stay.rewrite(entry);
        if (entry.holder.kind === 'given') markSwitchover('given');
        if (entry.holder.kind === 'self') markSwitchover('received');
      },
      send: (to, message) => this.#send(to, message),
      askArbiter: () => {
        desk.noteDoubt(stay.journal.vmId);
        onChange();
      },
      resume: () => this.#resume(),
      halt: async () => {
        await this.#qmp()?.run('stop');
      },
      fence: async () => undefined,
      remove: () => this.#remove(),
    };
  }

  #send(_to: HostId, message: TokenMessage): void {
    const json = JSON.parse(JSON.stringify(message));
    if (this.#arriving !== undefined) this.#arriving.vm.tell(json);
    else this.#movable?.tell(json);
  }

  #qmp() {
    return this.#arrived?.qmp ?? this.#parts.stay.driver()?.live()?.qmp;
  }

  /** The guest runs here: the token has come, or came back. */
  async #resume(): Promise<void> {
    await (this.#qmp()?.run('cont') ?? this.#parts.stay.resume());
    markSwitchover('guest runs');
    this.#departing?.decided.resolve('resumed');
    const arrived = this.#arrived;
    if (arrived === undefined) return;
    this.#arrived = undefined;
    this.#isHere = true;
    void this.#settleIn(arrived);
  }

  /** It runs; the rest is not in anybody's way any more. */
  async #settleIn({ memory, qemu, qmp, data }: ArrivedVm): Promise<void> {
    const { stay, mobility, logger, log, onChange } = this.#parts;
    const migrationId = this.#arriving?.move.migrationId;
    if (migrationId !== undefined) log.enter(migrationId, { phase: 'committed' });
    try {
      const { guestAgentSocket } = vmFiles(memory.spec.vmDir);
      const guest = await connectGuestAgent(
        guestAgentSocket,
        AbortSignal.timeout(GUEST_CONNECT_MS),
      );
      const driver = driveArrived({ memory, qemu, connections: { qmp, guest } }, { logger });
      const live = driver.live();
      if (live !== undefined) {
        this.#movable = MovableVm.arrived({ live, mobility, logger, onChange }, data);
      }
      stay.drive(driver);
      await guest.setTime(Date.now()).catch((err: unknown) => {
        logger.warn({ err }, "the guest's clock could not be set");
      });
      if (migrationId !== undefined) log.enter(migrationId, { phase: 'done' });
    } catch (err) {
      logger.error({ err }, 'a VM that arrived cannot be driven');
    }
  }

  async #remove(): Promise<void> {
    this.#departing?.decided.resolve('released');
    await this.#parts.stay.vanish();
  }

  async #remind(): Promise<void> {
    this.#track();
    const machine = this.#token?.machine;
    if (machine === undefined || !isOpen(machine)) return;
    this.#reminders += 1;
    await this.#token?.remind();
    if (this.#reminders % DOUBT_AFTER === 0) await this.#token?.doubt();
  }
}

/** Somebody else's word is needed. */
function isOpen({ state }: TokenDriver['machine']): boolean {
  if (state.kind === 'holding') return state.tenure.from !== null;
  return state.kind === 'given' || state.kind === 'refused';
}

function headOf({ migrationId, vmId, epoch }: SendVm | ReceiveVm) {
  return { migrationId, vmId, epoch };
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
