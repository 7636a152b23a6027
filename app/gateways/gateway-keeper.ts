/**
 * Keeps the gateways told: which VMs they have, where those are, and which host may flip which. What
 * is read is told in the order in which it was read, so that an older picture never follows a newer.
 *
 *   new VM    its gateway and its address are chosen (`assign`), for good
 *   move      announced before its source is asked to send, and waited for; without an answer the
 *             VM moves all the same
 *   tick      `refresh`: the rest, such as the fence after a move
 */
import type { Logger } from 'pino';
import { flipProofOf } from '../../host-agent/protocol/gateway-messages.ts';
import { chooseGuestAddress, GUEST_RANGE } from '../../host-agent/protocol/guest-addresses.ts';
import type { HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { FlipEndpoint } from '../../host-agent/protocol/migration-messages.ts';
import type { Fleet } from '../reconciler/ports.ts';
import { isOpenMove } from '../records/migration-record.ts';
import type { RecordStore } from '../records/record-store.ts';
import type { VmRecord } from '../records/records.ts';
import { chooseGateway } from './choose-gateway.ts';
import { picturesOf } from './picture.ts';
import type { GatewayPort } from './ports.ts';

const ANNOUNCE_LIMIT_MS = 2_000;
/** How long an ended migration still says where its VM is. */
const ENDED_SHOWN_MS = 60_000;
/** Addresses of VMs whose record was not seen yet. */
const MAX_FRESH = 1_000;

export interface KeeperParts {
  readonly port: GatewayPort;
  readonly store: Pick<RecordStore, 'listVms' | 'listMigrations'>;
  readonly fleet: Pick<Fleet, 'hosts'>;
  readonly now: () => number;
  readonly logger: Logger;
}

export class GatewayKeeper {
  readonly #parts: KeeperParts;
  readonly #proofs = new Map<MigrationId, string>();
  readonly #fresh = new Set<string>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  /** For a new VM; null: no gateway is there, and its host masquerades it. */
  async assign(vmId: VmId): Promise<VmRecord['network']> {
    const { port, store, logger } = this.#parts;
    const there = port.gateways().filter(({ state }) => state === 'connected');
    const gateway = chooseGateway(vmId, there);
    if (gateway?.underlay === undefined) return null;
    const recorded = (await store.listVms()).flatMap(({ network }) => network?.guestAddress ?? []);
    for (const address of recorded) this.#fresh.delete(address);
    // From here on nothing is awaited: two VMs that start together never share an address.
    const taken = new Set([...recorded, ...this.#fresh]);
    const guestAddress = chooseGuestAddress({ range: GUEST_RANGE, vmId, taken });
    if (guestAddress === undefined) {
      logger.error({ vmId }, 'every guest address of the fleet is taken: the VM gets no gateway');
      return null;
    }
    const [oldest] = this.#fresh;
    if (this.#fresh.size >= MAX_FRESH && oldest !== undefined) this.#fresh.delete(oldest);
    this.#fresh.add(guestAddress);
    return { guestAddress, gateway: gateway.id, gatewayAddress: gateway.underlay };
  }

  /** Where the move's source asks for its flips; undefined: the VM's gateway is not to be had now. */
  async announce(move: {
    readonly vm: Pick<VmRecord, 'id' | 'network'>;
    readonly migrationId: MigrationId;
    readonly credential: string;
  }): Promise<FlipEndpoint | undefined> {
    const { port, logger } = this.#parts;
    const gateway = move.vm.network?.gateway;
    if (gateway === undefined) return undefined;
    this.#proofs.set(move.migrationId, flipProofOf(move.credential));
    const number = (await this.refresh()).get(gateway);
    const isTold = number !== undefined && (await port.served(gateway, number, ANNOUNCE_LIMIT_MS));
    if (isTold) return port.flipAt(gateway);
    logger.warn(
      { vmId: move.vm.id, gatewayId: gateway },
      'its gateway does not answer: the VM moves all the same',
    );
    return undefined;
  }

  /** Tells each connected gateway what it is to have; answers the pictures' numbers. */
  refresh(): Promise<ReadonlyMap<HostId, number>> {
    const mine = this.#last.then(() => this.#tell());
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  async #tell(): Promise<ReadonlyMap<HostId, number>> {
    const { port, store, fleet, now } = this.#parts;
    const there = port.gateways().filter(({ state }) => state === 'connected');
    const numbers = new Map<HostId, number>();
    if (there.length === 0) return numbers;
    const [vms, migrations] = await Promise.all([
      store.listVms(),
      store.listMigrations(now() - ENDED_SHOWN_MS),
    ]);
    this.#dropProofs(new Set(migrations.filter(isOpenMove).map(({ id }) => id)));
    const hosts = new Map(fleet.hosts().map(({ id, facts }) => [id, facts?.underlay]));
    const addressOf = (id: HostId) => hosts.get(id);
    const pictures = picturesOf({ vms, migrations, addressOf, proofs: this.#proofs });
    for (const { id } of there) {
      const number = port.serve(id, pictures.get(id) ?? []);
      if (number !== undefined) numbers.set(id, number);
    }
    return numbers;
  }

  #dropProofs(open: ReadonlySet<MigrationId>): void {
    for (const id of this.#proofs.keys()) if (!open.has(id)) this.#proofs.delete(id);
  }
}
