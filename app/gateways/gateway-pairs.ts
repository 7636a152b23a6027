/**
 * Lets standbys take over: by itself when the acting gateway is lost, or because the operator says so.
 *
 *   standby: `silent` ─▶ the acting one is away here too, or answers no ping ─▶ takeover
 *                    └▶ it answers ─▶ nothing; asked again a moment later
 *   takeover: the book (on disk) ─▶ roles and pictures to both ∥ every host: use the other gateway
 *
 * Two witnesses must have lost it, since a gateway that lives and is cut off from one of them carries
 * packets. What fences an old one is that hosts neither send to it nor hear it any more.
 */
import type { Logger } from 'pino';
import { type Refused, refused } from '../../host-agent/protocol/errors.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import type { Fleet } from '../reconciler/ports.ts';
import type { VmRecord } from '../records/records.ts';
import type { ActingBook } from './acting-book.ts';
import {
  type Acting,
  actingFor,
  findAlarmed,
  networkNow,
  planEntries,
  planTakeover,
  rolesOf,
  turnsOf,
} from './pair-gateways.ts';
import type { GatewayPort } from './ports.ts';

/** For the acting gateway's answer to a ping. */
const PING_LIMIT_MS = 250;
const LOOK_AGAIN_MS = 500;

export interface PairParts {
  readonly port: Pick<GatewayPort, 'gateways' | 'answers'>;
  readonly book: Pick<ActingBook, 'entries' | 'put'>;
  readonly fleet: Pick<Fleet, 'hosts' | 'request'>;
  readonly logger: Logger;
}

export class GatewayPairs {
  readonly #parts: PairParts;
  /** What each host has said yes to, or is being told, on its connection of now. */
  readonly #told = new Map<HostId, string>();
  /** Addresses whose acting gateway is being asked. */
  readonly #asking = new Set<string>();

  constructor(parts: PairParts) {
    this.#parts = parts;
  }

  /** Who acts and who stands by, of those that are there. */
  roles() {
    const { port, book } = this.#parts;
    const gateways = port.gateways();
    for (const entry of planEntries(gateways, book.entries())) book.put(entry);
    return rolesOf(gateways, book.entries());
  }

  /** As it is now. Answers its own id for a gateway that nobody stands in for. */
  readActing(): (id: HostId) => HostId {
    const entries = this.#parts.book.entries();
    return (id) => actingFor(id, entries)?.gatewayId ?? id;
  }

  networkNow(network: VmRecord['network']): VmRecord['network'] {
    return network && networkNow(network, this.#parts.book.entries());
  }

  /** Takes over what is lost. True: somebody acts now who did not, and must be told. */
  async rescue(): Promise<boolean> {
    const { port, book } = this.#parts;
    const alarmed = findAlarmed(port.gateways(), book.entries());
    const taken = await Promise.all(
      alarmed.map(async ({ acting, standby }) => {
        if (!(await this.#isLost(acting))) return false;
        return this.takeOver(standby.id, 'the acting gateway is lost') === undefined;
      }),
    );
    return taken.includes(true);
  }

  /** From now on that gateway acts; who was replaced, and the hosts, have to be told. */
  takeOver(id: HostId, because: string): Refused | undefined {
    const { port, book, logger } = this.#parts;
    const standby = port.gateways().find((one) => one.id === id);
    const entry = planTakeover(standby, book.entries());
    if (entry === undefined) return refused('This gateway is away, or stands by for no other.');
    if (!book.put(entry)) return refused('Another takeover of this address was faster.');
    const { address, term, replaced } = entry;
    const replacedId = replaced[0]?.gatewayId;
    logger.warn({ gatewayId: id, replacedId, address, term, because }, 'a standby takes over');
    return undefined;
  }

  /** Hosts that have not agreed to what holds now are asked; nobody is waited for. */
  tellHosts(): void {
    const { fleet, book } = this.#parts;
    const turns = turnsOf(book.entries());
    const text = JSON.stringify(turns);
    const there = fleet.hosts().filter(({ state }) => state !== 'away');
    const ids = new Set(there.map(({ id }) => id));
    for (const id of this.#told.keys()) if (!ids.has(id)) this.#told.delete(id);
    if (turns.length === 0) return;
    for (const { id, stateSinceMs } of there) {
      const telling = `${stateSinceMs} ${text}`;
      if (this.#told.get(id) === telling) continue;
      this.#told.set(id, telling);
      void this.#tellHost(id, { kind: 'use-gateways', turns: [...turns] });
    }
  }

  async #tellHost(id: HostId, request: Parameters<Fleet['request']>[1]): Promise<void> {
    const { fleet, logger } = this.#parts;
    try {
      const outcome = await fleet.request(id, request);
      if (outcome.kind === 'taken') return;
      logger.error({ hostId: id, why: outcome.why }, 'a host does not use the gateways that act');
    } catch (err) {
      logger.warn({ err, hostId: id }, 'a host was not told which gateways act');
    }
    this.#told.delete(id);
  }

  /** While a standby is alarmed it is to be looked at again after this time. */
  get lookAgainMs(): number | undefined {
    const { port, book } = this.#parts;
    return findAlarmed(port.gateways(), book.entries()).length > 0 ? LOOK_AGAIN_MS : undefined;
  }

  /** False too while somebody else asks. */
  async #isLost({ gatewayId, address }: Acting): Promise<boolean> {
    if (this.#asking.has(address)) return false;
    this.#asking.add(address);
    try {
      return !(await this.#parts.port.answers(gatewayId, PING_LIMIT_MS));
    } finally {
      this.#asking.delete(address);
    }
  }
}
