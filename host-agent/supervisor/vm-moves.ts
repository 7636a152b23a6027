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
import { recoverToken } from '../authority/recover-token.ts';
import {
  isOpen,
  TokenDriver,
  type TokenPorts,
  type TokenSurroundings,
} from '../authority/token-driver.ts';
import { VmGate } from '../migration/guest-gate.ts';
import { describeMachine } from '../migration/machine-facts.ts';
import { MovableVm } from '../migration/movable-vm.ts';
import { openPacketSwitch, type PacketSwitch } from '../migration/packet-switch.ts';
import { markSwitchover } from '../migration/switchover-trace.ts';
import { cancelHold } from '../migration/tracking/held-migration.ts';
import type { VmData } from '../migration/worker/vm-data.ts';
import { refused } from '../protocol/errors.ts';
import type { HostId } from '../protocol/ids.ts';
import type { AgentOutcome } from '../protocol/messages.ts';
import type {
  AbortMigration,
  ParkVm,
  ReceiveVm,
  ResumeVm,
  SendVm,
} from '../protocol/migration-messages.ts';
import type { ResizeVm } from '../protocol/resize-messages.ts';
import { TokenMessage } from '../protocol/token-messages.ts';
import type { VmReport } from '../protocol/vm-report.ts';
import type { VmDriver } from '../vm/vm-driver.ts';
import { Arrivals, type PlaceHere } from './arrivals.ts';
import { comeBack } from './comebacks.ts';
import { Departures } from './departures.ts';
import { describeError } from './move-words.ts';
import type { MovesParts } from './moving-stay.ts';
import { VmPoints } from './vm-points.ts';
import { type JudgeRoom, VmResize } from './vm-resize.ts';

const REMIND_MS = 1_000;
/** From a VM's start to its tracking: its first steps are over, and little is lost with it. */
const SETTLE_MS = 4_000;
/** Reminders without an answer until the control plane is to ask. */
const DOUBT_AFTER = 5;
/** For the last word to the other agent, and its answer. */
const LINGER_MS = 5_000;
const RETRY_BASE_MS = 100;
const RETRY_LIMIT_MS = 5_000;

export class VmMoves {
  readonly #parts: MovesParts;
  readonly #departures: Departures;
  readonly #arrivals: Arrivals;
  readonly #points: VmPoints;
  readonly #gate: VmGate;
  readonly #resize: VmResize;
  readonly #end = new AbortController();
  #movable: MovableVm | undefined;
  #tracking: Promise<void> | undefined;
  #resting: Promise<void> | undefined;
  #liveSinceMs: number | undefined;
  #reminders = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: MovesParts) {
    this.#parts = parts;
    const around = {
      ...parts,
      call: (event: Parameters<TokenDriver['call']>[0]) => this.#call(event),
      hearToken: (from: HostId, said: unknown) => this.#hearToken(from, said),
      token: () => this.#surroundings(),
      adopt: (driver: VmDriver, data: VmData) => this.#adopt(driver, data),
      facts: () => this.#facts(),
      packets: (move: SendVm) => this.#packets(move),
    };
    this.#gate = new VmGate({
      mayRun: () => this.mayRun,
      cont: async () => await this.#qmp()?.run('cont'),
    });
    this.#points = new VmPoints({
      ...parts,
      nowMs: () => parts.clocks().wallMs,
      movable: () => this.#movable,
      isMoving: () => this.#departures.isUnderWay,
      gate: this.#gate,
    });
    this.#resize = new VmResize({
      ...parts,
      whyNot: () => this.#whyNoResize(),
      untracked: (work) => this.#untracked(work),
      signal: this.#end.signal,
    });
    this.#departures = new Departures(around);
    this.#arrivals = new Arrivals(around);
    const { journal } = parts.stay;
    if (journal.holder.kind === 'self') {
      const { epoch, lease, holder } = journal;
      const tenure = { epoch, from: holder.from, lease };
      const holding = { kind: 'holding', tenure } as const;
      parts.desk.open(journal.vmId, TokenDriver.holding(holding, this.#surroundings()));
      if (journal.ended !== null) this.noteEnd();
    }
    this.watch();
  }

  /** What is open is said again, until it is closed; after `end`, too, if it has to be. */
  watch(): void {
    clearInterval(this.#timer);
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

  /** The token is here, and its lease has not lapsed. */
  get mayRun(): boolean {
    return this.#token?.mayRun === true;
  }

  /** The target may have the token, whether or not that is journalled yet; not when it is back. */
  get isGiving(): boolean {
    const { journal } = this.#parts.stay;
    const givenEpoch = this.#departures.givenEpoch ?? 0;
    return journal.holder.kind === 'given' || journal.epoch < givenEpoch;
  }

  /** What the VM's report says of its moving; `parking` only for what this agent knows of. */
  report(): Pick<VmReport, 'tracking' | 'parking' | 'resize'> {
    const tracking = this.#movable?.report();
    const { parking } = this.#points;
    const resize = this.#resize.word;
    return {
      ...(tracking && { tracking }),
      ...(parking && { parking }),
      ...(resize && { resize }),
    };
  }

  /** An earlier agent began to park it, and it runs on here. */
  noteParkingFailed(epoch: number, why: string): void {
    this.#points.noteParkingFailed(epoch, why);
  }

  /** Tracks what can be tracked, a little after its start: then its job needs the processor more. */
  #track(): void {
    const live = this.#parts.stay.driver()?.live();
    if (live === undefined || this.#movable !== undefined || this.#tracking !== undefined) return;
    if (this.#resize.isUnderWay) return;
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
    if (this.#points.isParking) return refused('This VM is being parked.');
    return this.#departures.send(move, this.#movable);
  }

  resize(request: ResizeVm, judgeRoom: JudgeRoom): AgentOutcome {
    return this.#resize.begin(request, judgeRoom);
  }

  #whyNoResize(): string | undefined {
    const machine = this.#token?.machine;
    const isHere = machine !== undefined && this.mayRun && !isOpen(machine);
    const isLeaving = this.#departures.isUnderWay || this.#points.isParking;
    if (!isHere || isLeaving) return 'This VM is being moved.';
    return this.#movable?.isStoring === true ? 'A checkpoint of this VM is made.' : undefined;
  }

  /** QEMU plugs nothing while a migration is held. What tracks the VM afterwards begins anew. */
  async #untracked(work: () => Promise<void>): Promise<void> {
    await this.#tracking;
    await this.#movable?.end();
    this.#movable = undefined;
    try {
      const qmp = this.#qmp();
      if (qmp !== undefined) await cancelHold(qmp);
      await work();
    } finally {
      this.#tracking = undefined;
    }
  }

  checkpoint(): AgentOutcome {
    return this.#points.checkpoint();
  }

  async park(request: ParkVm): Promise<AgentOutcome> {
    return await this.#points.park(request);
  }

  /** Out of the store: comebacks.ts says what holds when it settles. */
  async comeBack(request: ResumeVm, how: PlaceHere): Promise<void> {
    const adopt = (driver: VmDriver, data: VmData) => this.#adopt(driver, data);
    const { signal } = this.#end;
    await comeBack(request, { ...this.#parts, how, adopt, mayRun: () => this.mayRun, signal });
  }

  /** Resolves when the source may dial. */
  async receive(request: ReceiveVm, how: PlaceHere): Promise<AgentOutcome> {
    return await this.#arrivals.receive(request, how);
  }

  async abort({ migrationId, why }: AbortMigration): Promise<AgentOutcome> {
    const leaving = this.#departures.abort(migrationId, why);
    if (leaving !== undefined) return leaving;
    await this.#arrivals.abort(migrationId, why);
    return { kind: 'taken' };
  }

  /** The VM is over here, or the agent ends: nothing is moved or tracked any more. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    this.#end.abort(new Error('the VM ends'));
    this.#departures.end();
    this.#points.end();
    await this.#resize.over;
    await this.#tracking;
    await this.#movable?.end();
    await this.#arrivals.end();
  }

  /** The VM is not this host's: what moving it had made here goes. Idempotent. */
  async clear(): Promise<void> {
    await this.#movable?.letGo();
    await this.#arrivals.end();
    await this.#parts.mobility.keys.remove(this.#parts.stay.journal.vmId);
  }

  /** The VM is another host's. What is said last still gets its time to arrive there. */
  leave(): void {
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
      journal: async (entry) => {
        await stay.rewrite(entry);
        if (entry.holder.kind === 'given') markSwitchover('given');
        if (entry.holder.kind === 'self') markSwitchover('received');
        if (entry.holder.kind === 'refused') this.#giveUp(entry.holder.why);
      },
      send: (to, message) => this.#send(to, message),
      askArbiter: () => {
        desk.noteDoubt(stay.journal.vmId);
        onChange();
      },
      resume: () => this.#resume(),
      hasEnded: () => this.#arrivals.hasEnded(),
      halt: async () => {
        await this.#qmp()?.run('stop');
        // QEMU would leave its hold while the guest stands.
        this.#resting = this.#movable?.rest().catch((err: unknown) => {
          this.#parts.logger.warn({ err }, 'tracking does not rest');
        });
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

  /** It will not come here, whoever decided that. The journal stays until its source knows. */
  #giveUp(why: string): void {
    const { stay, logger } = this.#parts;
    this.#arrivals.giveUp(why);
    stay.clear().catch((err: unknown) => {
      logger.error({ err }, 'a VM that does not come has left something behind');
    });
  }

  /** The guest runs here: the token has come, or came back. */
  async #resume(): Promise<void> {
    // Whoever holds the guest still lets it go on.
    if (!this.#gate.isOpen) return;
    await this.#resting;
    const stopMarking = this.#qmp()?.onEvent(({ name }) => {
      if (name === 'RESUME') markSwitchover('guest runs');
    });
    await this.#letRun();
    stopMarking?.();
    this.#departures.decide('resumed');
    this.#arrivals.ran();
    if (this.#resting !== undefined) this.#movable?.goOn();
    this.#resting = undefined;
  }

  async #letRun(): Promise<void> {
    const qmp = this.#qmp();
    if (qmp === undefined) return await this.#parts.stay.resume();
    // A guest that runs must not be in the middle of leaving.
    if (this.#departures.isUnderWay) await cancelHold(qmp).catch(() => undefined);
    await qmp.run('cont').catch((error: unknown) => {
      this.#arrivals.cannotRun(describeError(error));
      throw error;
    });
  }

  #facts() {
    const live = this.#parts.stay.driver()?.live();
    if (live === undefined) throw new Error('The VM is over.');
    return describeMachine(live.memory, live.machine);
  }

  #packets(move: SendVm): PacketSwitch {
    const { networks, mobility, logger, stay } = this.#parts;
    const uplink = networks.uplink(move.vmId);
    const qemuPid = stay.driver()?.live()?.memory.qemu?.pid;
    return openPacketSwitch({ move, uplink, qemuPid, identity: mobility.identity, logger });
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
    this.#track();
    this.#points.tick();
    await this.#token?.checkLease();
    const machine = this.#token?.machine;
    if (machine === undefined || !(isOpen(machine) || this.#arrivals.isForsaken)) return;
    this.#reminders += 1;
    await this.#token?.remind();
    if (this.#reminders % DOUBT_AFTER === 0) await this.#token?.doubt();
  }
}
