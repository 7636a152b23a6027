/**
 * What is asked for, in which order, when an offer is to be bought: first its own zone, in any type
 * that is as large; then other zones; then on demand. Pure. The operator says which of these may be.
 */
import type { Ec2Offer } from './compose-offers.ts';

export type Fallback = 'type' | 'zone' | 'on-demand';

/** Of one CreateFleet call: EC2 takes whichever of these it has, the first ones rather than the last. */
export interface Attempt {
  readonly spot: boolean;
  readonly offers: readonly Ec2Offer[];
}

/** EC2 takes up to 300 overrides in a call; the dear ones at the end would hardly be used. */
export const MAX_OVERRIDES = 20;

export interface Wanted {
  readonly offer: Ec2Offer;
  readonly offers: readonly Ec2Offer[];
  readonly fallbacks: readonly Fallback[];
  readonly maxUsdPerHour: number;
  /** Not tried now. */
  readonly isShut: (offer: Ec2Offer) => boolean;
}

export function planAttempts(wanted: Wanted): readonly Attempt[] {
  const { offer, fallbacks } = wanted;
  const able = wanted.offers.filter((one) => canReplace(one, wanted)).sort(byPrice);
  const alike = able.filter(
    ({ type }) => type.name === offer.type.name || fallbacks.includes('type'),
  );
  const same = alike.filter(({ zone, spot }) => zone === offer.zone && spot === offer.spot);
  const elsewhere = alike.filter(({ zone, spot }) => zone !== offer.zone && spot === offer.spot);
  const onDemand = alike.filter(
    ({ zone, spot }) => !spot && (zone === offer.zone || fallbacks.includes('zone')),
  );
  const attempts: Attempt[] = [
    { spot: offer.spot, offers: preferring(offer, same) },
    { spot: offer.spot, offers: fallbacks.includes('zone') ? elsewhere : [] },
    { spot: false, offers: offer.spot && fallbacks.includes('on-demand') ? onDemand : [] },
  ];
  return attempts
    .filter(({ offers }) => offers.length > 0)
    .map(({ spot, offers }) => ({ spot, offers: offers.slice(0, MAX_OVERRIDES) }));
}

/** As large, of the same kind (one launch template fits one kind), within the money, and not shut. */
function canReplace(
  one: Ec2Offer,
  { offer, maxUsdPerHour, isShut }: Pick<Wanted, 'offer' | 'maxUsdPerHour' | 'isShut'>,
): boolean {
  return (
    one.type.virtualization === offer.type.virtualization &&
    one.capacity.vcpus >= offer.capacity.vcpus &&
    one.capacity.memoryMib >= offer.capacity.memoryMib &&
    one.pricePerHourUsd <= maxUsdPerHour &&
    !isShut(one)
  );
}

function preferring(offer: Ec2Offer, offers: readonly Ec2Offer[]): readonly Ec2Offer[] {
  return [
    ...offers.filter(({ id }) => id === offer.id),
    ...offers.filter(({ id }) => id !== offer.id),
  ];
}

function byPrice(a: Ec2Offer, b: Ec2Offer): number {
  return a.pricePerHourUsd - b.pricePerHourUsd || (a.id < b.id ? -1 : 1);
}
