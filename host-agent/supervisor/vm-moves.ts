/**
 * The moving of one VM on this host: its token, and whichever sequence is under way.
 *
 *   reserved ─▶ arriving ─▶ loaded ─▶ token received ─▶ runs here, tracked
 *                                                        │ send-vm
 *                                     stayed ◀── departing ──▶ token received there ─▶ vanished
 *
 * Decisions are the token's machine's (host-agent/authority) and the planner's; here, in
 * departures.ts and in arrivals.ts is what carries them out. Only one sequence at a time; a second
 * request for the same move is answered alike.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { recoverToken } from '../authority/recover-token.ts';
import type { HostClocks } from '../authority/run-lease.ts';
import type { TokenDesk } from '../authority/token-desk.ts';
import { TokenDriver, type TokenPorts, type TokenSurroundings } from '../authority/token-driver.ts';
import type { TokenEntry, VmJournal } from '../journal/token.ts';
import type { Mobility } from '../migration/mobility.ts';
import { MovableVm } from '../migration/movable-vm.ts';
import type { MoveLog } from '../migration/move-log.ts';
import type { VmData } from '../migration/worker/vm-data.ts';
import { refused } from '../protocol/errors.ts';
import type { HostId } from '../protocol/ids.ts';
import type { AgentOutcome } from '../protocol/messages.ts';
import type {
  AbortMigration,
  ReceiveVm,
  SendVm,
  TrackingReport,
} from '../protocol/migration-messages.ts';
import { TokenMessage } from '../protocol/token-messages.ts';
import type { VmDriver } from '../vm/vm-driver.ts';
import { Arrivals, type PlaceHere } from './arrivals.ts';
import { Departures } from './departures.ts';
import type { Networks } from './ports.ts';

const REMIND_MS = 1_000;
/** Reminders without an answer until the control plane is to ask. */
const DOUBT_AFTER = 5;
/** For the last word to the other agent, and its answer. */
const LINGER_MS = 5_000;
const RETRY_BASE_MS = 100;
const RETRY_LIMIT_MS = 5_000;

/** What the moving needs of the VM's stay on this host. */
export interface MovingStay {
  readonly journal: VmJournal;
  /** Durably. Rejects with JournalError. */
  rewrite(entry: TokenEntry): Promise<void>;
  driver(): VmDriver | undefined;
  drive(driver: VmDriver): void;
  /** After a restart of the agent: takes the VM's QEMU over and lets the guest go on. */
  resume(): Promise<void>;
  /** Everything of the VM goes, its journal last; it is reported no more. */
  vanish(): Promise<void>;
}

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

export class VmMoves {
  readonly #parts: MovesParts;
  readonly #departures: Departures;
  readonly #arrivals: Arrivals;
  #movable: MovableVm | undefined;
  #tracking: Promise<void> | undefined;
  #reminders = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(parts: MovesParts) {
    this.#parts = parts;
    const around = {
      ...parts,
      call: (event: Parameters<TokenDriver['call']>[0]) => this.#call(event),
      hearToken: (from: HostId, said: unknown) => this.#hearToken(from, said),
      token: () => this.#surroundings(),
      adopt: (driver: VmDriver, data: VmData) => this.#adopt(driver, data),
    };
    this.#departures = new Departures(around);
    this.#arrivals = new Arrivals(around);
    const { journal } = parts.stay;
    if (journal.holder.kind === 'self') {
      const { epoch, lease, holder } = journal;
      const tenure = { epoch, from: holder.from, lease };
      const holding = { kind: 'holding', tenure } as const;
      parts.desk.open(journal.vmId, TokenDriver.holding(holding, this.#surroundings()));
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

  report(): TrackingReport | undefined {
    return this.#movable?.report();
  }

  /** To be called whenever the driver has changed: begins to track what can be tracked. */
  look(): void {
    const live = this.#parts.stay.driver()?.live();
    if (live === undefined || this.#movable !== undefined || this.#tracking !== undefined) return;
    const { mobility, logger, onChange } = this.#parts;
    this.#tracking = MovableVm.begin({ live, mobility, logger, onChange })
      .then((movable) => {
        this.#movable = movable;
      })
      .catch((err: unknown) => logger.error({ err }, 'the VM cannot be tracked: it cannot move'));
  }

  send(move: SendVm): AgentOutcome {
    return this.#departures.send(move, this.#movable);
  }

  /** Resolves when the source may dial. */
  async receive(request: ReceiveVm, how: PlaceHere): Promise<AgentOutcome> {
    return await this.#arrivals.receive(request, how);
  }

  async abort({ migrationId, why }: AbortMigration): Promise<AgentOutcome> {
    if (!this.#departures.abort(migrationId, why)) await this.#arrivals.abort(migrationId, why);
    return { kind: 'taken' };
  }

  /** The VM is over here, or the agent ends: nothing is moved or tracked any more. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    this.#departures.end();
    await this.#tracking;
    await this.#movable?.end();
    await this.#arrivals.end();
  }

  /** The VM is another host's. What is said last still gets its time to arrive there. */
  async remove(): Promise<void> {
    await this.#arrivals.end();
    await this.#parts.mobility.keys.remove(this.#parts.stay.journal.vmId);
    void sleep(LINGER_MS, undefined, { ref: false }).then(() => this.end());
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
      journal: (entry) => stay.rewrite(entry),
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
    if (!this.#arrivals.tell(json)) this.#movable?.tell(json);
  }

  #qmp() {
    return this.#arrivals.qmp ?? this.#parts.stay.driver()?.live()?.qmp;
  }

  /** The guest runs here: the token has come, or came back. */
  async #resume(): Promise<void> {
    await (this.#qmp()?.run('cont') ?? this.#parts.stay.resume());
    this.#departures.decide('resumed');
    this.#arrivals.ran();
  }

  /** It runs here, and its worker has what its QEMU has. */
  #adopt(driver: VmDriver, data: VmData): void {
    const { stay, mobility, logger, onChange } = this.#parts;
    const live = driver.live();
    if (live !== undefined) {
      this.#movable = MovableVm.arrived({ live, mobility, logger, onChange }, data);
    }
    stay.drive(driver);
  }

  async #remove(): Promise<void> {
    this.#departures.decide('released');
    await this.#parts.stay.vanish();
  }

  async #remind(): Promise<void> {
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
