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
import type { DataEvent, Json } from '../migration/worker/data-commands.ts';
import type { MigrationId } from '../protocol/ids.ts';
import type { AgentOutcome } from '../protocol/messages.ts';
import type { ReceiveVm } from '../protocol/migration-messages.ts';
import type { PeerMove } from '../protocol/token-messages.ts';
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
  readonly networks: Pick<Networks, 'ensure'>;
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
    await mobility.keys.put(request.vmId, request.key);
    const reserved = await desk.reserve(request.vmId, move, token());
    if (reserved.kind === 'refused') return reserved;
    log.begin({ ...headOf(request), role: 'target', peer: hostId });
    try {
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

  /** To the source, best effort. False when nothing has come from anywhere. */
  tell(message: Json): boolean {
    this.#current?.vm.tell(message);
    return this.#current !== undefined;
  }

  /** The guest was let run just now. Nothing happens when it did not come from elsewhere. */
  ran(): void {
    const arrived = this.#arrived;
    if (arrived === undefined) return;
    this.#arrived = undefined;
    this.#isHere = true;
    void this.#settleIn(arrived);
  }

  /** What has not become the VM's own goes. */
  async end(): Promise<void> {
    if (this.#current !== undefined && !this.#isHere) await this.#current.vm.remove();
  }

  #hear(migrationId: MigrationId, event: DataEvent): void {
    const { log, hearToken } = this.#around;
    if (event.kind === 'moving') log.note(migrationId, event.figures);
    if (event.kind === 'machine') log.enter(migrationId, { phase: 'precopy' });
    if (event.kind === 'told' && this.#current !== undefined) {
      hearToken(this.#current.move.hostId, event.message);
    }
  }

  async #awaitLoaded(arriving: ArrivingVm): Promise<void> {
    try {
      const arrived = await arriving.loaded;
      this.#arrived = arrived;
      await this.#around.call({ kind: 'loaded' });
      await arrived.data.call('loaded');
    } catch (error) {
      await this.#refuse(describeError(error));
    }
  }

  /** Before the token is here: it will not come, for good. */
  async #refuse(why: string): Promise<void> {
    const { log, call } = this.#around;
    if (this.#current !== undefined) {
      log.enter(this.#current.move.migrationId, { phase: 'aborted', why: why.slice(0, 500) });
    }
    this.#current?.vm.hangUp(why);
    await call({ kind: 'refuse', why: why.slice(0, 500) });
  }

  async #settleIn(arrived: ArrivedVm): Promise<void> {
    const { log, logger, adopt } = this.#around;
    const migrationId = this.#current?.move.migrationId;
    if (migrationId !== undefined) log.enter(migrationId, { phase: 'committed' });
    try {
      await settleIn(arrived, { adopt, logger });
      if (migrationId !== undefined) log.enter(migrationId, { phase: 'done' });
    } catch (err) {
      logger.error({ err }, 'a VM that arrived cannot be driven');
    }
  }
}
