/** Which public port leads to a port of a VM. Pure. */
import { type Refused, refused } from '../../host-agent/protocol/errors.ts';
import {
  MAX_PORTS_PER_VM,
  OFFERED_PORTS,
  type OfferedPort,
} from '../../host-agent/protocol/gateway-messages.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import type { VmRecord } from '../records/records.ts';

export interface PortWish {
  readonly protocol: OfferedPort['protocol'];
  readonly guestPort: number;
  /** Undefined: any that is free. */
  readonly publicPort?: number | undefined;
  /** No public port is to lead there any more. */
  readonly undo: boolean;
}

export interface PortFacts {
  readonly vm: VmRecord;
  /** All of the fleet. */
  readonly vms: readonly VmRecord[];
  /** The gateway that has the VMs of this one now. */
  readonly actingFor: (gateway: HostId) => HostId;
}

/** What the VM is to have. A port that is offered already stays as it is. */
export function planPorts(
  facts: PortFacts,
  wish: PortWish,
): Refused | { readonly kind: 'planned'; readonly ports: readonly OfferedPort[] } {
  const { vm } = facts;
  if (vm.phase === 'stopped' || vm.phase === 'failed') return refused(`The VM ${vm.id} has ended.`);
  if (vm.network === null) return refused(`The VM ${vm.id} has no gateway.`);
  const { ports = [] } = vm.network;
  const isMeant = ({ protocol, guestPort }: OfferedPort) =>
    protocol === wish.protocol && guestPort === wish.guestPort;
  const others = ports.filter((one) => !isMeant(one));
  if (wish.undo) return { kind: 'planned', ports: others };
  const before = ports.find(isMeant);
  if (before !== undefined && (wish.publicPort ?? before.publicPort) === before.publicPort)
    return { kind: 'planned', ports };
  if (others.length >= MAX_PORTS_PER_VM)
    return refused(`A VM offers ${MAX_PORTS_PER_VM} ports at most.`);
  const publicPort = choosePort(takenPorts(facts, wish.protocol), wish.publicPort);
  if (typeof publicPort !== 'number') return publicPort;
  const { protocol, guestPort } = wish;
  return { kind: 'planned', ports: [...others, { protocol, publicPort, guestPort }] };
}

/** By other VMs of the same gateway, and by other ports of this one. */
function takenPorts(
  { vm, vms, actingFor }: PortFacts,
  protocol: OfferedPort['protocol'],
): ReadonlySet<number> {
  const gateway = vm.network && actingFor(vm.network.gateway);
  const there = vms.filter(({ network, phase }) => {
    const isOver = phase === 'stopped' || phase === 'failed';
    return network !== null && !isOver && actingFor(network.gateway) === gateway;
  });
  const ports = there.flatMap(({ network }) => network?.ports ?? []);
  return new Set(ports.filter((one) => one.protocol === protocol).map((one) => one.publicPort));
}

function choosePort(taken: ReadonlySet<number>, wanted: number | undefined): number | Refused {
  const { first, last } = OFFERED_PORTS;
  if (wanted !== undefined) {
    if (wanted < first || wanted > last) return refused(`Public ports are ${first} to ${last}.`);
    return taken.has(wanted) ? refused(`The public port ${wanted} is taken.`) : wanted;
  }
  for (let port: number = first; port <= last; port += 1) if (!taken.has(port)) return port;
  return refused('Every public port of this gateway is taken.');
}
