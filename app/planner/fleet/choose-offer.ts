/** Which offer is bought for what lacks room: the one whose useful vCPUs cost least. Pure. */
import type { InstanceClass } from '../../../host-agent/protocol/instance-class.ts';
import type { Offer } from '../../providers/provider.ts';
import { emptyRoom, pack, vcpusOf } from './fleet-room.ts';

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
  const scored = offers.flatMap((offer) => {
    if (offer.pricePerHourUsd > budgetUsdPerHour) return [];
    const { left } = pack([emptyRoom(offer.id, offer.capacity)], sizes);
    const placed = vcpusOf(sizes) - vcpusOf(left);
    return placed === 0 ? [] : [{ offer, left, score: offer.pricePerHourUsd / placed }];
  });
  const [best] = scored.sort((a, b) => a.score - b.score || (a.offer.id < b.offer.id ? -1 : 1));
  return best === undefined ? undefined : { offer: best.offer, left: best.left };
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

function perVcpu({ pricePerHourUsd, capacity }: Offer): number {
  return pricePerHourUsd / capacity.vcpus;
}
