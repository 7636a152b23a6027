/**
 * What a store's use costs at S3's list prices: standard storage, us-east-1, November 2026
 * (https://aws.amazon.com/s3/pricing/). Traffic between EC2 and S3 of one region is free, and so are
 * deletions.
 */
import type { StoreUsage } from './object-backend.ts';

const HOURS_PER_MONTH = 730;
const GIB = 1024 ** 3;
const PRICES = {
  usdPerPut: 0.005 / 1000,
  usdPerList: 0.005 / 1000,
  usdPerGet: 0.0004 / 1000,
  usdPerGibMonth: 0.023,
} as const;

export interface StoreCost {
  readonly requestsUsd: number;
  readonly storageUsd: number;
  readonly totalUsd: number;
}

/** Of requests, and of bytes kept for so many hours. */
export function storeCost(given: {
  readonly usage: Pick<StoreUsage, 'puts' | 'gets' | 'lists'>;
  readonly storedBytes: number;
  readonly hours: number;
}): StoreCost {
  const { puts, gets, lists } = given.usage;
  const requestsUsd = puts * PRICES.usdPerPut + lists * PRICES.usdPerList + gets * PRICES.usdPerGet;
  const gibMonths = (given.storedBytes / GIB) * (given.hours / HOURS_PER_MONTH);
  const storageUsd = gibMonths * PRICES.usdPerGibMonth;
  return { requestsUsd, storageUsd, totalUsd: requestsUsd + storageUsd };
}
