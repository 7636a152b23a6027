/** The host's maps, with the shapes of their entries. */
import {
  guard6Key,
  guardKey,
  guardRule,
  hostBucket,
  hostConfig,
  hostVm,
  index,
  vmCounters,
  vmNumber,
} from './abi.ts';
import type { MapSet } from './programs.ts';
import { counterMap, mapNamed, typedMap } from './typed-map.ts';

export type HostTables = ReturnType<typeof openHostTables>;

export function openHostTables(maps: MapSet) {
  return {
    config: typedMap(mapNamed(maps, 'host_config'), index, hostConfig),
    vms: typedMap(mapNamed(maps, 'host_vms'), vmNumber, hostVm),
    buckets: typedMap(mapNamed(maps, 'host_buckets'), vmNumber, hostBucket),
    guard: typedMap(mapNamed(maps, 'host_guard'), guardKey, guardRule),
    guard6: typedMap(mapNamed(maps, 'host_guard6'), guard6Key, guardRule),
    counters: counterMap(mapNamed(maps, 'vm_counters'), vmNumber, vmCounters),
  };
}
