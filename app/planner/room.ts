/**
 * The hosts that VMs can be moved to, and what is left on each. Pure but for what one tick counts
 * down. Hosts are looked at in the order of their ids, and no more of them than may be needed: an
 * evacuation of a few VMs does not look at 10,000 targets for each.
 */
import type { Capacity } from '../../host-agent/protocol/host-facts.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import { isOpenMove } from '../records/migration-record.ts';
import type { Target } from './evacuate.ts';
import { isLeaving } from './leaving.ts';
import type { Observed, ObservedHost, PlannerConfig } from './observed.ts';
import { type Arrival, acceptsVms, fits, subtract, usedByHost } from './place.ts';

/** Targets that one evacuation chooses among, for each size of VM. */
const MAX_CANDIDATES = 16;

export class Room {
  readonly #config: PlannerConfig;
  readonly #hosts: readonly ObservedHost[];
  readonly #free = new Map<HostId, Capacity>();
  readonly #arriving = new Map<HostId, number>();
  readonly #arrivals: Arrival[] = [];

  constructor(observed: Observed, config: PlannerConfig) {
    this.#config = config;
    this.#hosts = observed.hosts.filter(mayReceive).sort((a, b) => (a.id < b.id ? -1 : 1));
    const used = usedByHost(observed);
    for (const host of this.#hosts)
      this.#free.set(host.id, subtract(host.capacity, used.get(host.id)));
    for (const move of observed.migrations)
      if (isOpenMove(move) && move.to !== undefined) this.#countArrival(move.to);
  }

  /** What was taken in this tick. */
  get arrivals(): readonly Arrival[] {
    return this.#arrivals;
  }

  /** Hosts that could take one of these sizes, as the evacuation planner wants them. */
  targets(sizes: readonly InstanceClass[], may: (hostId: HostId) => boolean): readonly Target[] {
    const chosen = new Map<HostId, Target>();
    for (const size of distinct(sizes)) {
      let found = 0;
      for (const { id } of this.#hosts) {
        if (found >= MAX_CANDIDATES) break;
        const free = this.#free.get(id);
        if (free === undefined || !fits(free, size) || this.#isBusy(id) || !may(id)) continue;
        chosen.set(id, { id, free, bytesPerSecond: this.#config.linkBytesPerSecond });
        found += 1;
      }
    }
    return [...chosen.values()];
  }

  take(hostId: HostId, size: InstanceClass): void {
    const free = this.#free.get(hostId);
    if (free !== undefined) this.#free.set(hostId, subtract(free, size));
    this.#countArrival(hostId);
    this.#arrivals.push({ hostId, class: size });
  }

  /** Takes so much more for a VM that is there already. False: there is not so much, and none is taken. */
  grow(hostId: HostId, more: InstanceClass): boolean {
    if (more.vcpus === 0 && more.memoryMib === 0) return true;
    const free = this.#free.get(hostId);
    if (free === undefined || !fits(free, more)) return false;
    this.#free.set(hostId, subtract(free, more));
    this.#arrivals.push({ hostId, class: more });
    return true;
  }

  /** As many VMs are on their way there as one link bears. */
  #isBusy(hostId: HostId): boolean {
    return (this.#arriving.get(hostId) ?? 0) >= this.#config.maxMovesPerTarget;
  }

  #countArrival(hostId: HostId): void {
    this.#arriving.set(hostId, (this.#arriving.get(hostId) ?? 0) + 1);
  }
}

function mayReceive(host: ObservedHost): boolean {
  return acceptsVms(host) && !isLeaving(host) && host.notice === undefined && !host.gone;
}

function distinct(sizes: readonly InstanceClass[]): readonly InstanceClass[] {
  const byShape = sizes.map(
    (size) => [`${size.vcpus}/${size.memoryMib}/${size.diskGib}`, size] as const,
  );
  return [...new Map(byShape).values()];
}
