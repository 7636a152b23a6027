/** Why no host could take a class, however empty the hosts were. Pure. */
import type { Capacity } from '../../host-agent/protocol/host-facts.ts';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';

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

/** A sentence for the job's author; undefined when one of the sizes would do. */
export function whyLarger(wanted: InstanceClass, sizes: readonly Capacity[]): string | undefined {
  if (sizes.some((size) => RESOURCES.every(({ of }) => of(size) >= of(wanted)))) return undefined;
  const lacks = RESOURCES.flatMap(({ of, show }) => {
    const most = Math.max(...sizes.map(of));
    return most < of(wanted)
      ? [`${show(of(wanted))}, and no host has more than ${show(most)}`]
      : [];
  });
  const all = RESOURCES.map(({ of, show }) => show(of(wanted))).join(', ');
  return `It waits for a larger host: it wants ${lacks[0] ?? `${all}, and no host has all of that`}.`;
}
