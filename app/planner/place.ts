/**
 * Which host gets a new VM: best fit, so that large gaps stay for large classes. Pure but for the
 * free capacity that a `Placement` counts down in one tick.
 *
 * Hosts with the same free capacity share a bucket, so a search looks at distinct shapes, not at
 * hosts: 10,000 hosts of a few offers are some dozen shapes. Within a bucket the smallest id wins,
 * which makes the choice independent of the order in which hosts were observed.
 *
 * A host that its cloud may take back soon is a last resort: a VM there would have to move at once.
 */
import type { Capacity } from '../../host-agent/protocol/host-facts.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import { isOpenMove, isStored } from '../records/migration-record.ts';
import type { Observed, ObservedHost } from './observed.ts';

interface Bucket {
  readonly free: Capacity;
  readonly hosts: HostId[];
  /** Sorted lazily, descending, so that the smallest id is popped. */
  sorted: boolean;
}

/** The free room of the hosts that may be given VMs. `take` reserves what it answers. */
export interface Placement {
  take(wanted: InstanceClass): HostId | undefined;
}

/** `arriving` is what this tick's moves take up. */
export function openPlacement(observed: Observed, arriving: readonly Arrival[]): Placement {
  const used = usedByHost(observed);
  for (const { hostId, class: size } of arriving) add(used, hostId, size);
  const steady = new Map<string, Bucket>();
  const hinted = new Map<string, Bucket>();
  for (const host of observed.hosts) {
    if (!acceptsVms(host)) continue;
    const buckets = host.notice === undefined ? steady : hinted;
    putHost(buckets, host.id, subtract(host.capacity, used.get(host.id)));
  }
  return { take: (wanted) => takeFrom(steady, wanted) ?? takeFrom(hinted, wanted) };
}

function takeFrom(buckets: Map<string, Bucket>, wanted: InstanceClass): HostId | undefined {
  const bucket = chooseBucket(buckets.values(), wanted);
  if (bucket === undefined) return undefined;
  const hostId = popSmallest(bucket);
  if (bucket.hosts.length === 0) buckets.delete(keyOf(bucket.free));
  if (hostId !== undefined) putHost(buckets, hostId, subtract(bucket.free, wanted));
  return hostId;
}

/** A VM that this tick sends to a host. */
export interface Arrival {
  readonly hostId: HostId;
  readonly class: InstanceClass;
}

export function acceptsVms(host: ObservedHost): boolean {
  return host.state === 'connected' && host.templateReady;
}

/** The bucket that leaves the fewest vCPUs, then the least memory, then the least disk. */
function chooseBucket(buckets: Iterable<Bucket>, wanted: InstanceClass): Bucket | undefined {
  let best: Bucket | undefined;
  for (const bucket of buckets)
    if (fits(bucket.free, wanted) && (best === undefined || tighter(bucket.free, best.free)))
      best = bucket;
  return best;
}

export function fits(free: Capacity, wanted: InstanceClass): boolean {
  return (
    free.vcpus >= wanted.vcpus &&
    free.memoryMib >= wanted.memoryMib &&
    free.diskGib >= wanted.diskGib
  );
}

function tighter(a: Capacity, b: Capacity): boolean {
  if (a.vcpus !== b.vcpus) return a.vcpus < b.vcpus;
  if (a.memoryMib !== b.memoryMib) return a.memoryMib < b.memoryMib;
  return a.diskGib < b.diskGib;
}

function popSmallest(bucket: Bucket): HostId | undefined {
  if (!bucket.sorted) bucket.hosts.sort((a, b) => (a < b ? 1 : -1));
  bucket.sorted = true;
  return bucket.hosts.pop();
}

function putHost(buckets: Map<string, Bucket>, hostId: HostId, free: Capacity): void {
  const key = keyOf(free);
  const bucket = buckets.get(key);
  if (bucket === undefined) buckets.set(key, { free, hosts: [hostId], sorted: true });
  else {
    const last = bucket.hosts.at(-1);
    bucket.hosts.push(hostId);
    bucket.sorted &&= last === undefined || last > hostId;
  }
}

function keyOf({ vcpus, memoryMib, diskGib }: Capacity): string {
  return `${vcpus}/${memoryMib}/${diskGib}`;
}

export function subtract(from: Capacity, less: Capacity | undefined): Capacity {
  if (less === undefined) return from;
  return {
    vcpus: from.vcpus - less.vcpus,
    memoryMib: from.memoryMib - less.memoryMib,
    diskGib: from.diskGib - less.diskGib,
  };
}

/** What VMs take up, those on their way counted at both ends, those in the store nowhere. */
export function usedByHost({ vms, migrations }: Observed): Map<HostId, Capacity> {
  const used = new Map<HostId, Capacity>();
  const moves = new Map(migrations.filter(isOpenMove).map((move) => [move.vmId, move]));
  for (const vm of vms) {
    const move = moves.get(vm.id);
    if (move?.to !== undefined && move.to !== vm.hostId) add(used, move.to, vm.class);
    if (vm.phase === 'stopped' || vm.phase === 'failed') continue;
    if (move === undefined || !isStored(move)) add(used, vm.hostId, vm.class);
  }
  return used;
}

function add(used: Map<HostId, Capacity>, hostId: HostId, size: InstanceClass): void {
  const sum = used.get(hostId) ?? { vcpus: 0, memoryMib: 0, diskGib: 0 };
  used.set(hostId, {
    vcpus: sum.vcpus + size.vcpus,
    memoryMib: sum.memoryMib + size.memoryMib,
    diskGib: sum.diskGib + size.diskGib,
  });
}
