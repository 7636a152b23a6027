/** Why a queued job has no VM yet, where that is for want of a host. Pure. */
import type { Capacity } from '../../host-agent/protocol/host-facts.ts';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import type { FleetHost } from '../reconciler/ports.ts';

interface Resource {
  readonly of: (size: Capacity) => number;
  readonly show: (amount: number) => string;
}

const gib = (mib: number) => Math.floor(mib / 1024);
const RESOURCES: readonly Resource[] = [
  { of: ({ vcpus }) => vcpus, show: (amount) => `${amount} vCPUs` },
  { of: ({ memoryMib }) => memoryMib, show: (amount) => `${gib(amount)} GiB of memory` },
  { of: ({ diskGib }) => diskGib, show: (amount) => `${amount} GiB of disk` },
];

/**
 * Sentences for the job's author. Null when some host could take it, if not at once, and when no
 * host is known at all, as on a process that does not hold the lease.
 */
export function whyWaiting(wanted: InstanceClass, hosts: readonly FleetHost[]): string | null {
  if (hosts.length === 0) return null;
  const sizes = hosts.flatMap(({ state, facts }) =>
    state === 'connected' && facts !== undefined ? [facts.capacity] : [],
  );
  if (sizes.length === 0) return 'It waits for a host: none is connected and admitted.';
  if (sizes.some((size) => RESOURCES.every(({ of }) => of(size) >= of(wanted)))) return null;
  const lacks = RESOURCES.flatMap(({ of, show }) => {
    const most = Math.max(...sizes.map(of));
    return most < of(wanted)
      ? [`${show(of(wanted))}, and no host has more than ${show(most)}`]
      : [];
  });
  const all = RESOURCES.map(({ of, show }) => show(of(wanted))).join(', ');
  return `It waits for a larger host: it wants ${lacks[0] ?? `${all}, and no host has all of that`}.`;
}
