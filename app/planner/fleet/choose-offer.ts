/** Which offer is bought for what lacks room: the one whose useful vCPUs cost least. Pure. */
import type { Capacity } from '../../../host-agent/protocol/host-facts.ts';
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import type { Offer } from '../../providers/provider.ts';
import { largestFirst, shapeOf } from './fleet-room.ts';

export interface ChosenOffer {
  readonly offer: Offer;
  /** What is left without room when it has come. */
  readonly left: readonly InstanceClass[];
}

/** Undefined: no offer within the budget takes any of these. Ties go to the smaller id. */
export function chooseOffer(
  offers: readonly Offer[],
  sizes: readonly InstanceClass[],
  budgetUsdPerHour: number,
): ChosenOffer | undefined {
  const batches = batch(sizes);
  const scored = offers.flatMap((offer) => {
    if (offer.pricePerHourUsd > budgetUsdPerHour) return [];
    const placed = fill(offer.capacity, batches);
    const vcpus = batches.reduce((sum, { size }, at) => sum + size.vcpus * (placed[at] ?? 0), 0);
    return vcpus === 0 ? [] : [{ offer, placed, score: offer.pricePerHourUsd / vcpus }];
  });
  const [best] = scored.sort((a, b) => a.score - b.score || (a.offer.id < b.offer.id ? -1 : 1));
  if (best === undefined) return undefined;
  const left = batches.flatMap(({ size, count }, at) =>
    new Array<InstanceClass>(count - (best.placed[at] ?? 0)).fill(size),
  );
  return { offer: best.offer, left };
}

/** For a fleet that only wants to be there: the cheapest per vCPU. */
export function cheapestOffer(
  offers: readonly Offer[],
  budgetUsdPerHour: number,
): Offer | undefined {
  return offers
    .filter(({ pricePerHourUsd, capacity }) => {
      return pricePerHourUsd <= budgetUsdPerHour && capacity.vcpus > 0;
    })
    .toSorted((a, b) => perVcpu(a) - perVcpu(b) || (a.id < b.id ? -1 : 1))[0];
}

interface Batch {
  readonly size: InstanceClass;
  readonly count: number;
}

/** The same sizes together, the largest first. */
function batch(sizes: readonly InstanceClass[]): readonly Batch[] {
  const groups = Map.groupBy(sizes, shapeOf);
  return [...groups.values()]
    .flatMap(([size, ...more]) => (size === undefined ? [] : [{ size, count: more.length + 1 }]))
    .sort((a, b) => largestFirst(a.size, b.size));
}

/** How many of each batch an empty machine takes: the same as `pack` would, without looking at each. */
function fill(capacity: Capacity, batches: readonly Batch[]): readonly number[] {
  let { vcpus, memoryMib, diskGib } = capacity;
  return batches.map(({ size, count }) => {
    const room = Math.min(vcpus / size.vcpus, memoryMib / size.memoryMib, diskGib / size.diskGib);
    const placed = Math.max(0, Math.min(count, Math.floor(room)));
    vcpus -= placed * size.vcpus;
    memoryMib -= placed * size.memoryMib;
    diskGib -= placed * size.diskGib;
    return placed;
  });
}

function perVcpu({ pricePerHourUsd, capacity }: Offer): number {
  return pricePerHourUsd / capacity.vcpus;
}
