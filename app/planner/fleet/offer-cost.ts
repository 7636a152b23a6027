/**
 * What an hour of an offer is weighed with: its price, and what is expected to be lost with it. Pure.
 *
 *   price + reclaims per hour × what one costs + price × premium × how scarce its place is
 *
 * Only choices are made by it: limits hold for the money that is paid.
 */
import type { Offer } from '../../providers/provider.ts';

const HOURS_PER_MONTH = 730;
const BEST_SCORE = 10;
const WORST_SCORE = 1;

export interface RiskCosts {
  /** What it costs that a host is taken back: moves, two hosts for a while, somebody's patience. */
  readonly usdPerReclaim: number;
  /** By which share more an offer may cost whose place has the best score rather than the worst. */
  readonly scorePremium: number;
}

export function riskUsdPerHour(offer: Offer, { usdPerReclaim, scorePremium }: RiskCosts): number {
  const { pricePerHourUsd, reclaimsPerMonth = 0, placementScore = BEST_SCORE } = offer;
  const scarcity = (BEST_SCORE - placementScore) / (BEST_SCORE - WORST_SCORE);
  const reclaimsUsd = (reclaimsPerMonth / HOURS_PER_MONTH) * usdPerReclaim;
  return reclaimsUsd + pricePerHourUsd * scorePremium * scarcity;
}

export function weighedUsdPerHour(offer: Offer, costs: RiskCosts): number {
  return offer.pricePerHourUsd + riskUsdPerHour(offer, costs);
}
