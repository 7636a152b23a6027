/**
 * Whether money that could be saved is worth the moves that save it:
 *
 *   saving = (price now − price then) × horizon
 *   cost   = traffic + the risk of losing jobs + the time in which both hosts are paid
 *
 * and the saving has to be `savingMargin` times the cost. Pure; `arithmetic` is for the log.
 */
import type { FleetPolicy, FleetVm } from './fleet-seen.ts';

const HOUR_MS = 3_600_000;
const GB = 1e9;

export interface Weighed {
  readonly isWorth: boolean;
  /** What it brings in all, in dollars. */
  readonly netUsd: number;
  readonly arithmetic: string;
}

export function weighSaving(
  given: {
    readonly fromUsdPerHour: number;
    /** Of the machine that is bought for it; 0: the VMs find room on what is there. */
    readonly toUsdPerHour: number;
    readonly vms: readonly FleetVm[];
  },
  policy: Pick<FleetPolicy, 'horizonMs' | 'savingMargin' | 'moveCosts'>,
): Weighed {
  const { fromUsdPerHour, toUsdPerHour, vms } = given;
  const { usdPerGb, lossProbability, usdPerLoss, overlapMs } = policy.moveCosts;
  const hours = policy.horizonMs / HOUR_MS;
  const savingUsd = (fromUsdPerHour - toUsdPerHour) * hours;
  const gigabytes = vms.reduce((sum, { bytesToMove }) => sum + bytesToMove, 0) / GB;
  const trafficUsd = gigabytes * usdPerGb;
  const riskUsd = vms.length * lossProbability * usdPerLoss;
  const overlapUsd = (toUsdPerHour * overlapMs) / HOUR_MS;
  const costUsd = trafficUsd + riskUsd + overlapUsd;
  const isWorth = savingUsd > 0 && savingUsd > costUsd * policy.savingMargin;
  const arithmetic =
    `($${money(fromUsdPerHour)} − $${money(toUsdPerHour)}) × ${money(hours)} h = $${money(savingUsd)} ` +
    `${isWorth ? '>' : '≤'} ${policy.savingMargin} × ($${money(trafficUsd)} traffic of ` +
    `${gigabytes.toFixed(1)} GB + $${money(riskUsd)} risk of ${vms.length} moves + ` +
    `$${money(overlapUsd)} overlap)`;
  return { isWorth, netUsd: savingUsd - costUsd, arithmetic };
}

function money(usd: number): string {
  return String(Number(usd.toFixed(4)));
}
