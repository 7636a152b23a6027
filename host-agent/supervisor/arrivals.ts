/**
 * A VM's coming to this host, from the reservation on until it is driven here.
 *
 *   receive ─▶ arriving ─▶ loaded ─▶ (token received: `cont`) ─▶ settleIn: driver, tracking, clock
 *      └────────┴── refused, for good ──┘
 */
import type { Logger } from 'pino';
import type { TokenDesk } from '../authority/token-desk.ts';
import type { TokenSurroundings } from '../authority/token-driver.ts';
import { type ArrivedVm, ArrivingVm } from '../migration/arriving-vm.ts';
import type { Mobility } from '../migration/mobility.ts';
import type { MoveLog } from '../migration/move-log.ts';
import { readDropped } from '../migration/packet-losses.ts';
import type { DataEvent, Json } from '../migration/worker/data-commands.ts';
import type { MigrationId } from '../protocol/ids.ts';
import type { AgentOutcome } from '../protocol/messages.ts';
import type { ReceiveVm } from '../protocol/migration-messages.ts';
import type { PeerMove } from '../protocol/token-messages.ts';
import { isAlive } from '../vm/launch.ts';
import type { VmStart } from '../vm/vm-driver.ts';
import type { DepartureSurroundings } from './departures.ts';
import { describeError, headOf } from './move-words.ts';
import type { MovingStay } from './moving-stay.ts';
import type { OpenPool } from './pool-artifacts.ts';
import type { Networks } from './ports.ts';
import { settleIn } from './settle-in.ts';

export interface ArrivalSurroundings extends DepartureSurroundings {
  readonly stay: MovingStay;
  readonly desk: TokenDesk;
  readonly mobility: Mobility;
  readonly networks: Pick<Networks, 'ensure' | 'uplink'>;
  readonly log: MoveLog;
  readonly logger: Logger;
  readonly token: () => TokenSurroundings;
  readonly adopt: Parameters<typeof settleIn>[1]['adopt'];
}

/** Where a VM that comes here is to be. */
export interface PlaceHere {
  readonly pool: OpenPool;
  readonly here: Pick<VmStart, 'vmDir' | 'fleet'> & { readonly place: string };
}

export class Arrivals {
  readonly #around: ArrivalSurroundings;
  #current: { readonly move: PeerMove; readonly vm: ArrivingVm } | undefined;
  #arrived: ArrivedVm | undefined;
  /** It arrived and runs: what received it is the VM's own now. */
  #isHere = false;
  /** Its driver has it: whatever becomes of it is the driver's to say. */
  #isDriven = false;
  #isConnected = true;

  constructor(around: ArrivalSurroundings) {
    this.#around = around;
  }

  /** The loaded guest's, until it runs. */
  get qmp() {
    return this.#arrived?.qmp;
  }

  /** Resolves when the source may dial. */
  async receive(request: ReceiveVm, how: PlaceHere): Promise<AgentOutcome> {
    const { migrationId, epoch, from: hostId } = request;
    const { log, mobility, networks, logger, desk, token } = this.#around;
    const move: PeerMove = { migrationId, epoch, hostId };
    const reserved = await desk.reserve(request.vmId, move, token());
    if (reserved.kind === 'refused') return reserved;
    log.begin({ ...headOf(request), role: 'target', peer: hostId });
    try {
      await mobility.keys.put(request.vmId, request.key);
      const onEvent = (event: DataEvent) => this.#hear(migrationId, event);
      const parts = { request, mobility, networks, logger, onEvent, ...how };
      const { arriving, peer } = await ArrivingVm.open(parts);
      this.#current = { move, vm: arriving };
      void this.#awaitLoaded(arriving);
      return { kind: 'taken', peer };
    } catch (error) {
      await this.#refuse(describeError(error));
      throw error;
    }
  }

  async abort(migrationId: MigrationId, why: string): Promise<void> {
    if (this.#current?.move.migrationId === migrationId) await this.#refuse(why);
  }

  /** All of it is here but the word that it may run, and nobody is there to say it. */
  get isForsaken(): boolean {
    return this.#arrived !== undefined && !this.#isConnected;
  }

  /** It is refused, for good. The connection stays, for the word that says so, until `end`. */
  giveUp(why: string): void {
    this.#arrived = undefined;
    this.#noteAborted(why);
  }

  /** To the source, best effort. False when nothing has come from anywhere. */
  tell(message: Json): boolean {
    this.#current?.vm.tell(message);
    return this.#current !== undefined;
  }

  /** What has arrived has no QEMU any more, so that it can never run here. */
  async hasEnded(): Promise<boolean> {
    const qemu = this.#arrived?.qemu;
    return qemu !== undefined && !(await isAlive(qemu));
  }

  /** The guest was let run just now. Nothing happens when it did not come from elsewhere. */
  ran(): void {
    const arrived = this.#arrived;
    if (arrived === undefined) return;
    this.#arrived = undefined;
    this.#isHere = true;
    void this.#settleIn(arrived);
  }

  /** The token is here, but the guest was not let run. */
  cannotRun(why: string): void {
    if (this.#arrived !== undefined) this.#bury(`It arrived and cannot run: ${why}`);
  }

  /** What has not become the VM's own goes. */
  async end(): Promise<void> {
    if (this.#current !== undefined && !this.#isHere) await this.#current.vm.remove();
  }

  #hear(migrationId: MigrationId, event: DataEvent): void {
    const { log, hearToken } = this.#around;
    if (event.kind === 'moving') log.note(migrationId, event.figures);
    if (event.kind === 'hung-up') this.#isConnected = false;
    if (event.kind === 'machine') log.enter(migrationId, { phase: 'precopy' });
    if (event.kind === 'told' && this.#current !== undefined) {
      hearToken(this.#current.move.hostId, event.message);
    }
  }

  async #awaitLoaded(arriving: ArrivingVm): Promise<void> {
    try {
      const arrived = await arriving.loaded;
      this.#arrived = arrived;
      void arrived.qemu.ended.then((how) => this.#lose(how));
      await this.#around.call({ kind: 'loaded' });
      await arrived.data.call('loaded');
    } catch (error) {
      await this.#refuse(describeError(error));
    }
  }

  /** Before the token is here: it will not come, for good. */
  async #refuse(why: string): Promise<void> {
    if (this.#isHere) return;
    // The source hears it at once: a journal that cannot be written now takes its time.
    this.#current?.vm.hangUp(why);
    await this.#around.call({ kind: 'refuse', why: why.slice(0, 500) });
  }

  #noteAborted(why: string): void {
    if (this.#current === undefined) return;
    const { migrationId } = this.#current.move;
    this.#around.log.enter(migrationId, { phase: 'aborted', why: why.slice(0, 500) });
  }

  /** Its QEMU has ended before anybody drove it. */
  async #lose(how: string): Promise<void> {
    const why = `QEMU died as the VM arrived: ${how}`;
    if (this.#isDriven) return;
    if (!this.#isHere) await this.#refuse(why);
    if (this.#isHere || this.#arrived !== undefined) this.#bury(why);
  }

  /** The token is here, and nothing that could run. */
  #bury(why: string): void {
    const migrationId = this.#current?.move.migrationId;
    this.#arrived = undefined;
    this.#isHere = false;
    if (migrationId !== undefined) this.#around.log.enter(migrationId, { phase: 'lost', why });
    this.#around.stay.bury(why);
  }

  async #settleIn(arrived: ArrivedVm): Promise<void> {
    const { log, logger, adopt, networks } = this.#around;
    const migrationId = this.#current?.move.migrationId;
    if (migrationId !== undefined) log.enter(migrationId, { phase: 'committed' });
    const uplink = networks.uplink(arrived.memory.spec.vmId);
    const packetsLost = await readDropped({ qemuPid: arrived.qemu.pid, uplink });
    try {
      await settleIn(arrived, {
        adopt: (driver, data) => {
          this.#isDriven = true;
          adopt(driver, data);
        },
        logger,
      });
      if (migrationId !== undefined) log.enter(migrationId, { phase: 'done', packetsLost });
    } catch (err) {
      logger.error({ err }, 'a VM that arrived cannot be driven');
      if (!this.#isDriven) this.#bury(`It arrived and cannot be driven: ${describeError(err)}`);
    }
  }
}
