/**
 * Keeps the gateways told: which VMs they have, where those are, and which host may flip which. What
 * is read is told in the order in which it was read, so that an older picture never follows a newer.
 *
 *   new VM    its gateway and its address are chosen (`assign`), for good
 *   move      announced before its source is asked to send, and waited for; without an answer the
 *             VM moves all the same
 *   tick      `refresh`: the rest, such as the fence after a move
 *   a gateway is lost: `watch`, and its standby has its VMs (gateway-pairs.ts)
 */
import type { Logger } from 'pino';
import { type Refused, refused } from '../../host-agent/protocol/errors.ts';
import {
  flipProofOf,
  type GatewayRole,
  type OfferedPort,
} from '../../host-agent/protocol/gateway-messages.ts';
import { chooseGuestAddress, GUEST_RANGE } from '../../host-agent/protocol/guest-addresses.ts';
import type { HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { FlipEndpoint } from '../../host-agent/protocol/migration-messages.ts';
import type { Fleet } from '../reconciler/ports.ts';
import { isOpenMove } from '../records/migration-record.ts';
import type { RecordStore } from '../records/record-store.ts';
import type { VmRecord } from '../records/records.ts';
import { chooseGateway } from './choose-gateway.ts';
import type { GatewayPairs } from './gateway-pairs.ts';
import { type PortWish, planPorts } from './offer-port.ts';
import { isThere } from './pair-gateways.ts';
import { picturesOf } from './picture.ts';
import type { GatewayPort } from './ports.ts';
import { type GatewayTraffic, readTraffic } from './vm-traffic.ts';

const ANNOUNCE_LIMIT_MS = 2_000;
/** How long an ended migration still says where its VM is. */
const ENDED_SHOWN_MS = 60_000;
/** Addresses of VMs whose record was not seen yet. */
const MAX_FRESH = 1_000;

export interface KeeperParts {
  readonly port: GatewayPort;
  readonly store: Pick<RecordStore, 'listVms' | 'listMigrations'>;
  readonly fleet: Pick<Fleet, 'hosts'>;
  readonly pairs: GatewayPairs;
  /** As changeVm of the reconciler: on disk when it resolves. */
  readonly changeVm: (
    id: VmId,
    change: (vm: VmRecord) => VmRecord,
  ) => Promise<VmRecord | undefined>;
  readonly now: () => number;
  readonly logger: Logger;
}

const NO_SUCH_VM = 'There is no such VM any more.';

export interface OfferedPorts {
  readonly kind: 'offered';
  /** Null: the VM's gateway is away. */
  readonly address: string | null;
  readonly ports: readonly OfferedPort[];
}

export class GatewayKeeper {
  readonly #parts: KeeperParts;
  readonly #proofs = new Map<MigrationId, string>();
  readonly #fresh = new Set<string>();
  #last: Promise<unknown> = Promise.resolve();
  #offering: Promise<unknown> = Promise.resolve();
  #lookingAgain: NodeJS.Timeout | undefined;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  /** For a new VM; null: no gateway is there, and its host masquerades it. */
  async assign(vmId: VmId): Promise<VmRecord['network']> {
    const { port, store, pairs, logger } = this.#parts;
    const roles = pairs.roles();
    const acting = port.gateways().filter(({ id }) => roles.get(id)?.kind === 'acting');
    const gateway = chooseGateway(vmId, acting.filter(isThere));
    if (gateway === undefined) return null;
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
    const ipv6 = gateway.ipv6 === true && { ipv6: true };
    return { guestAddress, gateway: gateway.id, gatewayAddress: gateway.underlay, ...ipv6 };
  }

  /** Where the move's source asks for its flips; undefined: the VM's gateway is not to be had now. */
  async announce(move: {
    readonly vm: Pick<VmRecord, 'id' | 'network'>;
    readonly migrationId: MigrationId;
    readonly credential: string;
  }): Promise<FlipEndpoint | undefined> {
    const { port, pairs, logger } = this.#parts;
    if (move.vm.network === null) return undefined;
    const gateway = pairs.readActing()(move.vm.network.gateway);
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

  /** What the gateway that has the VM now has counted of it. */
  traffic(vm: Pick<VmRecord, 'id' | 'network'>): Promise<Refused | GatewayTraffic> {
    const { port, pairs } = this.#parts;
    return readTraffic(vm, { port, actingFor: pairs.readActing() });
  }

  /** Of the gateways that are there. */
  roles(): ReadonlyMap<HostId, GatewayRole> {
    return this.#parts.pairs.roles();
  }

  /** A VM's network as it is now: another gateway may stand in for its own. */
  networkNow(network: VmRecord['network']): VmRecord['network'] {
    return this.#parts.pairs.networkNow(network);
  }

  /** To be called whenever a gateway comes, goes or says something: lets standbys take over. */
  async watch(): Promise<void> {
    const { pairs } = this.#parts;
    if (await pairs.rescue()) await this.refresh();
    const { lookAgainMs } = pairs;
    if (lookAgainMs === undefined || this.#lookingAgain !== undefined) return;
    this.#lookingAgain = setTimeout(() => {
      this.#lookingAgain = undefined;
      this.watch().catch((err: unknown) => this.#parts.logger.error({ err }, 'no takeover'));
    }, lookAgainMs);
    this.#lookingAgain.unref();
  }

  /** By the operator's word; the gateway that acts now is told to stand by. */
  async takeOver(id: HostId): Promise<Refused | undefined> {
    const denied = this.#parts.pairs.takeOver(id, 'the operator says so');
    if (denied === undefined) await this.refresh();
    return denied;
  }

  /** Has a public port lead to one of the VM's, or no longer; the gateway has it, if it answers. */
  offerPort(vmId: VmId, wish: PortWish): Promise<Refused | OfferedPorts> {
    const mine = this.#offering.then(() => this.#offer(vmId, wish));
    this.#offering = mine.catch(() => undefined);
    return mine;
  }

  async #offer(vmId: VmId, wish: PortWish): Promise<Refused | OfferedPorts> {
    const { store, pairs, port, changeVm } = this.#parts;
    const vms = await store.listVms();
    const vm = vms.find(({ id }) => id === vmId);
    const actingFor = pairs.readActing();
    const planned =
      vm === undefined ? refused(NO_SUCH_VM) : planPorts({ vm, vms, actingFor }, wish);
    if (planned.kind === 'refused') return planned;
    const changed = await changeVm(vmId, (stored) => ({
      ...stored,
      network: stored.network && { ...stored.network, ports: [...planned.ports] },
    }));
    if (changed === undefined || changed.network === null) return refused(NO_SUCH_VM);
    const gateway = actingFor(changed.network.gateway);
    const number = (await this.refresh()).get(gateway);
    if (number !== undefined) await port.served(gateway, number, ANNOUNCE_LIMIT_MS);
    const { publicAddress } = port.gateways().find(({ id }) => id === gateway) ?? {};
    return { kind: 'offered', address: publicAddress ?? null, ports: planned.ports };
  }

  /** Tells each connected gateway and host what it is to have; answers the pictures' numbers. */
  refresh(): Promise<ReadonlyMap<HostId, number>> {
    const mine = this.#last.then(() => this.#tell());
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  async #tell(): Promise<ReadonlyMap<HostId, number>> {
    const { port, store, fleet, pairs, now } = this.#parts;
    const roles = pairs.roles();
    pairs.tellHosts();
    const numbers = new Map<HostId, number>();
    if (roles.size === 0) return numbers;
    const [vms, migrations] = await Promise.all([
      store.listVms(),
      store.listMigrations(now() - ENDED_SHOWN_MS),
    ]);
    this.#dropProofs(new Set(migrations.filter(isOpenMove).map(({ id }) => id)));
    const hosts = new Map(fleet.hosts().map(({ id, facts }) => [id, facts?.underlay]));
    const addressOf = (id: HostId) => hosts.get(id);
    const actingFor = pairs.readActing();
    const pictures = picturesOf({ vms, migrations, addressOf, actingFor, proofs: this.#proofs });
    for (const [id, role] of roles) {
      const acting = role.kind === 'acting' ? id : role.follow.gatewayId;
      const number = port.serve(id, { role, vms: pictures.get(acting) ?? [] });
      if (number !== undefined) numbers.set(id, number);
    }
    return numbers;
  }

  #dropProofs(open: ReadonlySet<MigrationId>): void {
    for (const id of this.#proofs.keys()) if (!open.has(id)) this.#proofs.delete(id);
  }
}
