/** The gateway's maps, with the shapes of their entries. */
import {
  dropCounter,
  flow6Key,
  flowKey,
  gatewayConfig,
  gatewayVm,
  index,
  natIn,
  natOut,
  portRange,
  prefixCounters,
  prefixKey,
  publicAddress,
  seatCounters,
  service,
  serviceKey,
  vmCounters,
  vmNumber,
  vni,
} from './abi.ts';
import { DROP_REASONS } from './drop-reasons.ts';
import type { MapSet } from './programs.ts';
import { counterMap, mapNamed, typedMap } from './typed-map.ts';

export type GatewayTables = ReturnType<typeof openGatewayTables>;

export function openGatewayTables(maps: MapSet) {
  const drops = counterMap(mapNamed(maps, 'drop_counters'), index, dropCounter);
  const prefixes = typedMap(mapNamed(maps, 'prefix_counters'), prefixKey, prefixCounters);
  const prefixesOf = (wanted: number) =>
    [...prefixes.all()].filter(([{ number }]) => number === wanted);
  return {
    config: typedMap(mapNamed(maps, 'gateway_config'), index, gatewayConfig),
    vms: typedMap(mapNamed(maps, 'gateway_vms'), vmNumber, gatewayVm),
    seats: counterMap(mapNamed(maps, 'seat_counters'), vni, seatCounters),
    ports: typedMap(mapNamed(maps, 'gateway_ports'), publicAddress, portRange),
    services: typedMap(mapNamed(maps, 'services'), serviceKey, service),
    servicePorts: typedMap(mapNamed(maps, 'service_ports'), serviceKey, service),
    natOut: typedMap(mapNamed(maps, 'nat_out'), flowKey, natOut),
    natIn: typedMap(mapNamed(maps, 'nat_in'), flowKey, natIn),
    flows6: typedMap(mapNamed(maps, 'flows6'), flow6Key, natIn),
    counters: counterMap(mapNamed(maps, 'vm_counters'), vmNumber, vmCounters),
    readDrops: () => DROP_REASONS.map((_, n) => drops.sum({ index: n })?.count ?? 0),
    readPrefixes: (number: number) =>
      prefixesOf(number).map(([{ prefix }, counters]) => ({ prefix: `${prefix}/24`, ...counters })),
    forgetPrefixes: (number: number) => {
      for (const [key] of prefixesOf(number)) prefixes.delete(key);
    },
  };
}
