/** What is on sale: each type in each zone, at its spot price and at its on-demand price. Pure. */
import type { Capacity } from '../../../host-agent/protocol/host-facts.ts';
import type { Offer } from '../provider.ts';
import type { HostType } from './host-type.ts';

/** What a host keeps for itself: see host-agent/inventory/choose-capacity.ts. */
const MEMORY_RESERVE_MIB = 1024;
const MEMORY_RESERVE_SHARE = 0.1;
const DISK_RESERVE_SHARE = 0.1;
/** The system, QEMU, image and template. */
const SYSTEM_GIB = 15;
export const MAX_OFFERS = 1_000;

export interface Ec2Offer extends Offer {
  readonly type: HostType;
  readonly zone: string;
}

export interface SpotPrice {
  readonly type: string;
  readonly zone: string;
  readonly usdPerHour: number;
  readonly highUsdPerHour: number;
}

export interface Market {
  readonly types: readonly HostType[];
  readonly zones: readonly string[];
  readonly spotPrices: readonly SpotPrice[];
  /** By type. What is not in it is not bought on demand. */
  readonly onDemandUsdPerHour: Readonly<Record<string, number>>;
  readonly diskGib: number;
  /** By type; what is not in it, nobody says. */
  readonly reclaims?: ReadonlyMap<string, number>;
  /** By zone. */
  readonly scores?: ReadonlyMap<string, number>;
}

/** The cheapest per vCPU first; no more than MAX_OFFERS of them. */
export function composeOffers(market: Market): readonly Ec2Offer[] {
  const spotPrices = new Map(
    market.spotPrices.map((price) => [`${price.type}/${price.zone}`, price]),
  );
  const offers = market.types.flatMap((type) =>
    market.zones.flatMap((zone) => {
      const spot = type.spot ? spotPrices.get(`${type.name}/${zone}`) : undefined;
      const onDemandUsd = market.onDemandUsdPerHour[type.name];
      const { diskGib } = market;
      return [
        ...(spot === undefined
          ? []
          : [
              {
                ...offerOf({ type, zone, diskGib }, true, spot.usdPerHour),
                highUsdPerHour: spot.highUsdPerHour,
                ...riskOf(market, type.name, zone),
              },
            ]),
        ...(onDemandUsd === undefined
          ? []
          : [offerOf({ type, zone, diskGib }, false, onDemandUsd)]),
      ];
    }),
  );
  return offers.sort(cheapestFirst).slice(0, MAX_OFFERS);
}

function riskOf(
  { reclaims, scores }: Market,
  type: string,
  zone: string,
): Pick<Ec2Offer, 'reclaimsPerMonth' | 'placementScore'> {
  const reclaimsPerMonth = reclaims?.get(type);
  const placementScore = scores?.get(zone);
  return {
    ...(reclaimsPerMonth === undefined ? {} : { reclaimsPerMonth }),
    ...(placementScore === undefined ? {} : { placementScore }),
  };
}

/** `m8i.2xlarge/eu-central-1a/spot` */
export function offerIdOf(type: string, zone: string, spot: boolean): string {
  return `${type}/${zone}/${spot ? 'spot' : 'on-demand'}`;
}

/** The same type in the same zone. */
export function onDemandIdOf(offerId: string): string {
  const [type = '', zone = ''] = offerId.split('/');
  return offerIdOf(type, zone, false);
}

export function capacityOf(
  { vcpus, memoryMib }: Pick<HostType, 'vcpus' | 'memoryMib'>,
  diskGib: number,
): Capacity {
  const reserveMib = Math.max(MEMORY_RESERVE_MIB, memoryMib * MEMORY_RESERVE_SHARE);
  return {
    vcpus,
    memoryMib: Math.max(0, Math.floor(memoryMib - reserveMib)),
    diskGib: Math.max(0, Math.floor((diskGib - SYSTEM_GIB) * (1 - DISK_RESERVE_SHARE))),
  };
}

function offerOf(
  place: { readonly type: HostType; readonly zone: string; readonly diskGib: number },
  spot: boolean,
  pricePerHourUsd: number,
): Ec2Offer {
  const { type, zone, diskGib } = place;
  return {
    id: offerIdOf(type.name, zone, spot),
    capacity: capacityOf(type, diskGib),
    ...{ spot, pricePerHourUsd, place: zone, type, zone },
  };
}

function cheapestFirst(a: Ec2Offer, b: Ec2Offer): number {
  const difference = a.pricePerHourUsd / a.type.vcpus - b.pricePerHourUsd / b.type.vcpus;
  return difference || (a.id < b.id ? -1 : 1);
}
