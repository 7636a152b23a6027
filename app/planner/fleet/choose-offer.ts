/** Which offer is bought for what lacks room: the one whose useful vCPUs are weighed least. Pure. */
import type { Capacity } from '../../../host-agent/protocol/host-facts.ts';
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import type { Offer } from '../../providers/provider.ts';
import { largestFirst, shapeOf } from './fleet-room.ts';
import { type RiskCosts, riskUsdPerHour, weighedUsdPerHour } from './offer-cost.ts';

export interface ChosenOffer {
  readonly offer: Offer;
  /** What is left without room when it has come. */
  readonly left: readonly InstanceClass[];
  /** Its arithmetic, beside the next best. */
  readonly because: string;
}

export interface Choice {
  readonly offers: readonly Offer[];
  readonly budgetUsdPerHour: number;
  readonly riskCosts: RiskCosts;
}

/** Undefined: no offer within the budget takes any of these. Ties go to the smaller id. */
export function chooseOffer(
  { offers, budgetUsdPerHour, riskCosts }: Choice,
  sizes: readonly InstanceClass[],
): ChosenOffer | undefined {
  const batches = batch(sizes);
  const scored = offers.flatMap((offer) => {
    if (offer.pricePerHourUsd > budgetUsdPerHour) return [];
    const placed = fill(offer.capacity, batches);
    const vcpus = batches.reduce((sum, { size }, at) => sum + size.vcpus * (placed[at] ?? 0), 0);
    const score = weighedUsdPerHour(offer, riskCosts) / vcpus;
    return vcpus === 0 ? [] : [{ offer, placed, vcpus, score }];
  });
  const [best, next] = scored.sort(
    (a, b) => a.score - b.score || (a.offer.id < b.offer.id ? -1 : 1),
  );
  if (best === undefined) return undefined;
  const left = batches.flatMap(({ size, count }, at) =>
    new Array<InstanceClass>(count - (best.placed[at] ?? 0)).fill(size),
  );
  const beside = next === undefined ? '' : `; next ${next.offer.id}: $${money(next.score)}`;
  const because = `${arithmeticOf(best.offer, best.vcpus, riskCosts)} = $${money(best.score)}${beside}`;
  return { offer: best.offer, left, because };
}

function arithmeticOf(offer: Offer, vcpus: number, riskCosts: RiskCosts): string {
  const riskUsd = riskUsdPerHour(offer, riskCosts);
  const price = `$${money(offer.pricePerHourUsd)}`;
  return `${riskUsd === 0 ? price : `(${price} + $${money(riskUsd)} risk)`} / ${vcpus} vCPUs used`;
}

function money(usd: number): string {
  return String(Number(usd.toFixed(4)));
}

/** For a fleet that only wants to be there: the cheapest per vCPU. */
export function cheapestOffer({ offers, budgetUsdPerHour, riskCosts }: Choice): Offer | undefined {
  const perVcpu = (offer: Offer) => weighedUsdPerHour(offer, riskCosts) / offer.capacity.vcpus;
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
