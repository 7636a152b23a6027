/**
 * Which gateways stand in for each other, and who of them acts. Pure.
 *
 * Gateways that name the same floating address belong together. The first that is seen acts; from then
 * on the book says who does, whoever comes and goes. Each change of an entry counts its term up, and a
 * takeover notes who was replaced, for VMs and hosts that know the old one.
 */
import { z } from 'zod';
import type { GatewayRole } from '../../host-agent/protocol/gateway-messages.ts';
import { HostId } from '../../host-agent/protocol/ids.ts';
import type { GatewayTurn } from '../../host-agent/protocol/messages.ts';
import type { VmRecord } from '../records/records.ts';
import type { Gateway } from './ports.ts';

/** Of one address. VMs live for days, so the oldest are nobody's any more. */
const MAX_REPLACED = 16;
const MAX_STANDBYS = 8;

export const Acting = z.object({
  /** The floating one. */
  address: z.ipv4(),
  gatewayId: HostId,
  underlay: z.ipv4(),
  flipPort: z.int(),
  term: z.int().min(1),
  replaced: z.array(z.object({ gatewayId: HostId, underlay: z.ipv4() })),
});
export type Acting = Readonly<z.infer<typeof Acting>>;

type Network = NonNullable<VmRecord['network']>;
type Connected = Gateway & { readonly underlay: string; readonly flipPort: number };

export function isThere(gateway: Gateway): gateway is Connected {
  const { state, underlay, flipPort } = gateway;
  return state === 'connected' && underlay !== undefined && flipPort !== undefined;
}

/** Entries to write: for addresses that nobody acts for yet, and where the one that acts has changed. */
export function planEntries(
  gateways: readonly Gateway[],
  book: readonly Acting[],
): readonly Acting[] {
  const planned = new Map<string, Acting>();
  for (const gateway of gateways) {
    const { id: gatewayId, floating: address } = gateway;
    if (!isThere(gateway) || address === undefined) continue;
    const { underlay, flipPort } = gateway;
    const entry = book.find((one) => one.address === address) ?? planned.get(address);
    if (entry === undefined)
      planned.set(address, { address, gatewayId, underlay, flipPort, term: 1, replaced: [] });
    else if (entry.gatewayId === gatewayId && entry.flipPort !== flipPort)
      planned.set(address, { ...entry, flipPort, term: entry.term + 1 });
  }
  return [...planned.values()];
}

/** Of each gateway that is there. */
export function rolesOf(
  gateways: readonly Gateway[],
  book: readonly Acting[],
): ReadonlyMap<HostId, GatewayRole> {
  const there = gateways.filter(isThere);
  return new Map(there.map((gateway) => [gateway.id, roleOf(gateway, { there, book })]));
}

function roleOf(
  { id, floating }: Gateway,
  { there, book }: { readonly there: readonly Gateway[]; readonly book: readonly Acting[] },
): GatewayRole {
  const entry = book.find(({ address }) => address === floating);
  if (entry === undefined) return { kind: 'acting', standbys: [] };
  const { gatewayId, underlay: host, flipPort: port } = entry;
  if (gatewayId !== id) return { kind: 'standby', follow: { gatewayId, host, port } };
  const others = there.filter((one) => one.floating === floating && one.id !== id);
  return { kind: 'acting', standbys: others.slice(0, MAX_STANDBYS).map((one) => one.id) };
}

/** Who has the VMs of this gateway now. */
export function actingFor(id: HostId, book: readonly Acting[]): Acting | undefined {
  return book.find((one) => isOf(one, id));
}

function isOf({ gatewayId, replaced }: Acting, id: HostId): boolean {
  return gatewayId === id || replaced.some((one) => one.gatewayId === id);
}

/** A VM's network as it is now; its record says what it was when the VM began. */
export function networkNow(network: Network, book: readonly Acting[]): Network {
  const entry = actingFor(network.gateway, book);
  if (entry === undefined) return network;
  return { ...network, gateway: entry.gatewayId, gatewayAddress: entry.underlay };
}

/** What every host must know. */
export function turnsOf(book: readonly Acting[]): readonly GatewayTurn[] {
  return book.flatMap(({ underlay: to, replaced }) =>
    replaced.map(({ underlay: from }) => ({ from, to })),
  );
}

/** Standbys that do not hear the one that acts. */
export function findAlarmed(
  gateways: readonly Gateway[],
  book: readonly Acting[],
): readonly { readonly standby: Gateway; readonly acting: Acting }[] {
  const alarmed = new Map<string, { standby: Gateway; acting: Acting }>();
  for (const standby of gateways) {
    const acting = book.find(({ address }) => address === standby.floating);
    if (acting === undefined || acting.gatewayId === standby.id || !isThere(standby)) continue;
    if (standby.hears === 'silent') alarmed.set(acting.address, { standby, acting });
  }
  return [...alarmed.values()];
}

/** The entry after the takeover; undefined: this gateway does not stand by for anybody, or is away. */
export function planTakeover(
  standby: Gateway | undefined,
  book: readonly Acting[],
): Acting | undefined {
  if (standby === undefined || !isThere(standby)) return undefined;
  const before = book.find(({ address }) => address === standby.floating);
  if (before === undefined || before.gatewayId === standby.id) return undefined;
  const { id: gatewayId, underlay, flipPort } = standby;
  const old = { gatewayId: before.gatewayId, underlay: before.underlay };
  const replaced = [old, ...before.replaced].filter((one) => one.gatewayId !== gatewayId);
  return {
    ...{ address: before.address, gatewayId, underlay, flipPort, term: before.term + 1 },
    replaced: replaced.slice(0, MAX_REPLACED),
  };
}
