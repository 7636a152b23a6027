/** What a bought machine costs, as a job's evidence keeps it. Pure. */
import type { Capacity } from '../../../host-agent/protocol/host-facts.ts';
import type { ProviderHost } from '../../providers/provider.ts';
import type { HostPrice } from '../../records/job-cost.ts';

/** Undefined: not known, or not known how large it is. */
export function priceOf(
  { pricePerHourUsd, onDemandUsdPerHour, offerId }: ProviderHost,
  capacity: Capacity | undefined,
  fromMs: number,
): HostPrice | undefined {
  if (pricePerHourUsd === undefined || capacity === undefined) return undefined;
  const { vcpus, memoryMib } = capacity;
  return {
    ...{ fromMs, vcpus, memoryMib, usdPerHour: pricePerHourUsd },
    onDemandUsdPerHour: onDemandUsdPerHour ?? null,
    offer: offerId.slice(0, 200),
  };
}

export function isSamePrice(one: HostPrice, other: HostPrice): boolean {
  return JSON.stringify({ ...one, fromMs: 0 }) === JSON.stringify({ ...other, fromMs: 0 });
}
