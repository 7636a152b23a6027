/**
 * One VM's stay on this host, around its driver.
 *
 *   preparing ──journal and network are there──→ driven ──stop, or it ended by itself──→ ending
 *       └──they fail, or stop──→ ending ──driver, network gone; end journalled──→ ended
 *
 * Invariants:
 * - The journal is on disk before the driver starts QEMU.
 * - `ended` means that nothing of the VM is left but its journal (and the driver's `state.json`).
 * - A failing clean-up leaves the VM in `ending`, its resources accounted for; `tidy` tries again.
 * - Journal and network are made side by side: a start waits for the slower one alone.
 */
import type { Logger } from 'pino';
import type { JournalStore } from '../journal/journal-store.ts';
import {
  ended,
  type Parking,
  rewritten,
  type TokenEntry,
  type VmJournal,
  withParking,
} from '../journal/token.ts';
import type { Settled } from '../migration/settle-parking.ts';
import type { Attachment } from '../net/vm-networks.ts';
import { ArchitectError, refused } from '../protocol/errors.ts';
import type { AgentOutcome, AssignJob } from '../protocol/messages.ts';
import type { VmReport } from '../protocol/vm-report.ts';
import type { AdoptHow, VmDriver, VmNetwork } from '../vm/vm-driver.ts';
import { NeverRanError } from './comebacks.ts';
import {
  type End,
  reportDriven,
  reportEnded,
  reportPreparing,
  reportSettling,
} from './compose-report.ts';
import { Farewell } from './farewell.ts';
import type { MovingStay } from './moving-stay.ts';
import type { Networks } from './ports.ts';
import type { VmMoves } from './vm-moves.ts';

const PARKED_HALF = 'The host-agent was restarted while it parked the VM, which runs on there.';

export interface Surroundings {
  readonly journals: Pick<JournalStore, 'write' | 'remove'>;
  readonly moves: (stay: MovingStay) => VmMoves;
  /** Takes over the QEMU in the VM's folder, if there is one. */
  readonly adopt: (how: AdoptHow) => Promise<VmDriver | undefined>;
  /** What the store says of a parking that an earlier agent began. Rejects when the agent ends. */
  readonly settle: (epoch: number) => Promise<Settled>;
  /** Ends a QEMU that no driver knows, too; its limits and its folder go with it. */
  readonly removeRemains: () => Promise<void>;
  /** The VM runs on another host now: it is none of this one's any more. */
  readonly onVanished: () => void;
  readonly networks: Pick<Networks, 'ensure' | 'uplink' | 'destroy'>;
  readonly nowMs: () => number;
  readonly logger: Logger;
  readonly onChange: () => void;
}

export interface Beginning {
  /** Its key is kept. */
  readonly keyed: Promise<void>;
  readonly attachment: Attachment | undefined;
  readonly start: (network: VmNetwork) => VmDriver;
}

type Stay =
  | { readonly kind: 'arriving' }
  /** Another host may hold it: nothing is touched before that is known. */
  | { readonly kind: 'asking' }
  /** It was being parked: the store knows whether it was, and it does not run before that is known. */
  | { readonly kind: 'settling' }
  | { readonly kind: 'vanished' }
  | { readonly kind: 'preparing' }
  | { readonly kind: 'driven' }
  | { readonly kind: 'ending'; readonly end: End }
  | { readonly kind: 'ended'; readonly report: VmReport };

export class HostedVm {
  readonly moves: VmMoves;
  #journal: VmJournal;
  readonly #around: Surroundings;
  readonly #logger: Logger;
  #stay: Stay = { kind: 'preparing' };
  #driver: VmDriver | undefined;
  #preparation: Promise<void> = Promise.resolve();
  #cleaning = false;
  readonly #farewell = new Farewell();

  constructor(journal: VmJournal, around: Surroundings) {
    this.#journal = journal;
    this.#around = around;
    this.#logger = around.logger.child({ vmId: journal.vmId });
    this.moves = around.moves(this.#movingStay());
    if (journal.ended !== null) this.#finish(journal.ended);
    else if (journal.holder.kind === 'reserved') this.#stay = { kind: 'arriving' };
  }

  get journal(): VmJournal {
    return this.#journal;
  }

  /** In this host's reports: it runs here, or did. */
  get isHere(): boolean {
    if (['arriving', 'asking', 'vanished'].includes(this.#stay.kind)) return false;
    return !(this.#isGiven && this.#hasStopped());
  }

  get isEnded(): boolean {
    return this.#stay.kind === 'ended';
  }

  /** It comes here again. Resolves when nothing is left of its earlier stay, if that goes well. */
  async makeWay(): Promise<void> {
    if (this.#stay.kind === 'vanished') await this.#farewell.makeWay();
  }

  /** Settles when the VM has ended; never rejects. */
  get gone(): Promise<void> {
    return this.#farewell.gone;
  }

  /** Ended, or on its way there. */
  get isOver(): boolean {
    return this.#stay.kind === 'ending' || this.#stay.kind === 'ended';
  }

  /** Journals the VM, makes its network, then starts its driver. Failures end the VM, with why. */
  begin(how: Beginning): void {
    this.#preparation = this.#prepare(how);
  }

  async #prepare({ keyed, attachment, start }: Beginning): Promise<void> {
    const { journals, networks } = this.#around;
    const [written, network] = await Promise.allSettled([
      journals.write(this.#journal),
      networks.ensure(this.#journal.vmId, attachment),
      keyed,
    ]);
    if (this.#stay.kind !== 'preparing') return;
    if (written.status === 'rejected') this.#fail(written.reason);
    else if (network.status === 'rejected') this.#fail(network.reason);
    else this.#drive(() => start(network.value));
  }

  /** Out of the store: `revive` resolves when it runs here and is driven. */
  comeBack(revive: () => Promise<void>): void {
    this.#preparation = revive().catch((error: unknown) => {
      if (this.#stay.kind !== 'preparing' && this.#stay.kind !== 'driven') return;
      if (!(error instanceof NeverRanError)) return this.#fail(error);
      this.#logger.warn({ err: error }, 'VM does not come back here');
      this.#leave({ failed: false, why: error.message, parked: { stoppedAtMs: null } });
    });
  }

  #drive(start: () => VmDriver): void {
    try {
      this.drive(start());
    } catch (error) {
      this.#fail(error);
    }
  }

  /** After a restart of the agent, of a VM that another host may hold. */
  ask(): void {
    this.#stay = { kind: 'asking' };
    this.moves.recover();
  }

  /** After a restart of the agent, of a VM that was being parked. */
  settle(parking: Parking): void {
    this.#stay = { kind: 'settling' };
    this.#settle(parking).catch((err: unknown) => {
      this.#logger.error({ err }, 'it is not settled whether the VM is parked');
    });
  }

  async #settle({ epoch, stoppedAtMs }: Parking): Promise<void> {
    const settled = await this.#around.settle(epoch);
    this.#logger.info({ epoch, settled }, 'a parking was cut short');
    if (settled === 'fenced') {
      await this.#markParking(undefined);
      this.moves.noteParkingFailed(epoch, PARKED_HALF);
      return await this.#resume();
    }
    this.#driver = await this.#around.adopt({ mayRun: false }).catch(() => undefined);
    const why = 'It was parked when the host-agent was restarted.';
    this.#leave({ failed: false, why, parked: { stoppedAtMs } });
  }

  /** From now on this driver's word is the VM's state. */
  drive(driver: VmDriver): void {
    this.#driver = driver;
    this.#stay = { kind: 'driven' };
    driver.onChange(() => this.#look());
    this.#look();
  }

  /** A VM that is over before anything of it ran, or of which nothing is left. */
  bury(why: string): void {
    if (!this.isOver) this.#leave({ failed: true, why });
  }

  report(): VmReport {
    const stay = this.#stay;
    if (stay.kind === 'ended') return stay.report;
    const report = { ...this.#livingReport(), ...this.moves.report() };
    if (stay.kind !== 'ending') return report;
    if (!stay.end.failed && stay.end.parked === undefined) return report;
    return reportEnded(report, { ...stay.end, nowMs: this.#around.nowMs() });
  }

  async assign({ jobId, jitConfig, about }: AssignJob): Promise<AgentOutcome> {
    if (this.#stay.kind !== 'driven' || this.#driver === undefined) {
      return refused(`VM ${this.#journal.vmId} is ${this.report().phase} and takes no job.`);
    }
    return await this.#driver.assign({ jobId, jitConfig, about });
  }

  /**
   * Ends the VM for good; returns at once, the reports show when it is done. Idempotent. Nothing
   * happens while another host may have it already: who has it is to be asked again.
   */
  stop(why: string): void {
    const isUp = this.#stay.kind === 'preparing' || this.#stay.kind === 'driven';
    if (isUp && !this.#isGiven) this.#leave({ failed: false, why });
  }

  /** Tries a failed clean-up again. */
  tidy(): void {
    if (this.#stay.kind === 'ending') void this.#clean(this.#stay.end);
  }

  /** The agent ends and the VM goes on without it. */
  async detach(): Promise<void> {
    await this.moves.end();
    this.#driver?.detach();
    await this.#driver?.flushed();
  }

  #movingStay(): MovingStay {
    const vm = this;
    return {
      get journal() {
        return vm.#journal;
      },
      rewrite: (entry) => vm.#rewrite(entry),
      markParking: (parking) => vm.#markParking(parking),
      become: (size) => vm.#keep({ ...vm.#journal, class: size }),
      endParked: ({ why, stoppedAtMs }) => {
        vm.#leave({ failed: false, why, parked: { stoppedAtMs } });
      },
      driver: () => vm.#driver,
      drive: (driver) => vm.drive(driver),
      resume: () => vm.#resume(),
      clear: () => vm.#clear(),
      bury: (why) => vm.bury(why),
      vanish: () => vm.#vanish(),
    };
  }

  /** What is not being parked any more is not in this agent's eyes either, whatever is on disk. */
  async #markParking(parking: Parking | undefined): Promise<void> {
    const journal = withParking(this.#journal, parking);
    if (parking === undefined) this.#journal = journal;
    await this.#keep(journal);
  }

  async #keep(journal: VmJournal): Promise<void> {
    await this.#around.journals.write(journal);
    this.#journal = journal;
  }

  async #rewrite(entry: TokenEntry): Promise<void> {
    await this.#keep(rewritten(this.#journal, entry));
    if (entry.holder.kind === 'self') this.#look();
    else this.#around.onChange();
  }

  /** Whether it runs, or has ended, is another host's to say. */
  get #isGiven(): boolean {
    return this.moves.isGiving;
  }

  async #resume(): Promise<void> {
    const driver = await this.#around.adopt({ mayRun: true });
    if (driver === undefined) this.bury('Its QEMU was gone when its token came back.');
    else this.drive(driver);
  }

  /**
   * It is not this host's: everything of it goes from here but its journal. Its QEMU is not taken
   * over for that, which would let the guest run. Idempotent.
   */
  async #clear(): Promise<void> {
    const { networks, removeRemains } = this.#around;
    await this.#letGo();
    await removeRemains();
    await networks.destroy(this.#journal.vmId);
  }

  async #letGo(): Promise<void> {
    await this.#driver?.stop('Another host has this VM.');
    await this.moves.clear();
  }

  /**
   * It is another host's: everything of it goes from here, its journal last, and no report says so.
   * Where it has a gateway, its network stays for what is still on its way here.
   */
  async #vanish(): Promise<void> {
    this.#stay = { kind: 'vanished' };
    const { journals, networks, onVanished } = this.#around;
    await this.#letGo();
    if (networks.uplink(this.#journal.vmId) !== undefined) await this.#farewell.awaitStragglers();
    await this.#clear();
    this.moves.leave();
    await journals.remove(this.#journal.vmId);
    this.#logger.info('the VM is no more of this host');
    this.#farewell.complete();
    onVanished();
  }

  #livingReport(): VmReport {
    if (this.#stay.kind === 'settling') return reportSettling(this.#journal);
    if (this.#driver === undefined) return reportPreparing(this.#journal);
    return reportDriven(this.#journal, this.#driver.snapshot(), this.#stay.kind === 'ending');
  }

  #hasStopped(): boolean {
    const phase = this.#driver?.snapshot().phase;
    return phase === 'failed' || phase === 'stopped';
  }

  #look(): void {
    const snapshot = this.#driver?.snapshot();
    const isOver = this.#hasStopped() && !this.#isGiven;
    if (this.#stay.kind === 'driven' && isOver && snapshot !== undefined) {
      const why = snapshot.why ?? 'The VM ended.';
      this.#leave({ failed: snapshot.phase === 'failed', why });
    } else this.#around.onChange();
  }

  #fail(error: unknown): void {
    this.#logger.error({ err: error }, 'VM cannot be started');
    const why = error instanceof ArchitectError ? error.message : 'Unexpected error on the host.';
    this.#leave({ failed: true, why });
  }

  #leave(end: End): void {
    this.#logger.info({ why: end.why, failed: end.failed }, 'VM ends');
    this.#stay = { kind: 'ending', end };
    this.#around.onChange();
    void this.#clean(end);
  }

  async #clean(end: End): Promise<void> {
    if (this.#cleaning) return;
    this.#cleaning = true;
    try {
      await this.#release(end);
    } catch (error) {
      this.#logger.error({ err: error }, 'VM not removed completely; trying again');
    } finally {
      this.#cleaning = false;
    }
  }

  /** In this order: QEMU first, so that the guest cannot run without its guard. */
  async #release(end: End): Promise<void> {
    const over = this.moves.end();
    await this.#preparation;
    await over;
    if (this.#isGiven) return this.#goOn();
    await (this.#driver?.stop(end.why) ?? this.#around.removeRemains());
    await this.#around.networks.destroy(this.#journal.vmId);
    const nowMs = this.#around.nowMs();
    const report = reportEnded(this.#livingReport(), { ...end, nowMs });
    // Without room for the journal the end is told all the same: a restart finds the VM dead.
    await this.#around.journals.write(ended(this.#journal, report)).catch((error: unknown) => {
      this.#logger.error({ err: error }, 'the end of the VM is not journalled');
    });
    this.moves.noteEnd();
    this.#finish(report);
    this.#around.onChange();
  }

  /** It was given in the same moment: its end is not this host's to say. */
  #goOn(): void {
    if (this.#stay.kind !== 'ending') return;
    this.#stay = { kind: 'driven' };
    this.moves.watch();
  }

  #finish(report: VmReport): void {
    this.#stay = { kind: 'ended', report };
    this.#farewell.complete();
  }
}
