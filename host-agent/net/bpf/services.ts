/** Ports of a public address that lead to a port of a VM, both ways, without state per flow. */
import type { OfferedPort } from '../../protocol/gateway-messages.ts';
import type { GatewayTables } from './gateway-tables.ts';
import { TCP, UDP } from './idle-flows.ts';

const PROTOCOLS = { tcp: TCP, udp: UDP } as const;

/** The VM's mapped ports are these and no others. */
export function putServices(
  tables: GatewayTables,
  vm: {
    readonly number: number;
    readonly guestAddress: string;
    readonly publicAddress: string;
    readonly services: readonly OfferedPort[];
  },
): void {
  const { number, guestAddress, publicAddress, services } = vm;
  const before = listServices(tables).get(number) ?? [];
  for (const { protocol, publicPort, guestPort } of services) {
    const outside = { address: publicAddress, port: publicPort, protocol: PROTOCOLS[protocol] };
    const inside = { address: guestAddress, port: guestPort, protocol: PROTOCOLS[protocol] };
    tables.servicePorts.set(inside, { number, address: publicAddress, port: publicPort });
    tables.services.set(outside, { number, address: guestAddress, port: guestPort });
  }
  const stale = before.filter((old) => !services.some((one) => isSame(one, old)));
  for (const { protocol, publicPort, guestPort } of stale) {
    const key = { protocol: PROTOCOLS[protocol] };
    const outside = services.some(
      (one) => one.publicPort === publicPort && one.protocol === protocol,
    );
    const inside = services.some((one) => one.guestPort === guestPort && one.protocol === protocol);
    if (!outside) tables.services.delete({ ...key, address: publicAddress, port: publicPort });
    if (!inside) tables.servicePorts.delete({ ...key, address: guestAddress, port: guestPort });
  }
}

function isSame(one: OfferedPort, other: OfferedPort): boolean {
  return (
    one.protocol === other.protocol &&
    one.publicPort === other.publicPort &&
    one.guestPort === other.guestPort
  );
}

/** By the VM's number. */
export function listServices(tables: GatewayTables): ReadonlyMap<number, readonly OfferedPort[]> {
  const found = tables.services.keys().flatMap((key) => {
    const entry = tables.services.get(key);
    if (entry === undefined) return [];
    const protocol = key.protocol === TCP ? ('tcp' as const) : ('udp' as const);
    const service = { protocol, publicPort: key.port, guestPort: entry.port };
    return [{ number: entry.number, service }];
  });
  const byNumber = Map.groupBy(found, ({ number }) => number);
  return new Map([...byNumber].map(([number, all]) => [number, all.map(({ service }) => service)]));
}
