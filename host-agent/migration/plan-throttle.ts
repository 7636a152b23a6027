/**
 * How much of its CPU a guest keeps while it is copied, so that what it writes fits its link. Pure.
 *
 * Bytes and rates decide: each second of copying leaves what the guest wrote meanwhile to copy again,
 * and a guest that writes this part of what the link takes is copied in a few rounds.
 */
import { LEAST_CPU_SHARE } from '../protocol/migration-messages.ts';

/** More than this part of what its link takes is too much of a guest … */
const CONVERGING = 0.5;
/** … and then it may write this part: in half of the rounds, so it is slow for less long. */
const SLOWED = 0.25;
/** Over less time the rates say nothing. */
export const LOOK_MS = 500;

export interface CopyRates {
  readonly dirtyBytesPerSecond: number;
  /** Of the link; 0: not known yet. */
  readonly bytesPerSecond: number;
}

/** The guest outruns its copy. */
export function isChasing({ dirtyBytesPerSecond, bytesPerSecond }: CopyRates): boolean {
  return bytesPerSecond > 0 && dirtyBytesPerSecond > bytesPerSecond * CONVERGING;
}

/** The next share of its CPU: never more than now, never less than the least. */
export function planShare(share: number, rates: CopyRates): number {
  if (!isChasing(rates)) return share;
  const fitting = (share * rates.bytesPerSecond * SLOWED) / rates.dirtyBytesPerSecond;
  return Math.min(share, Math.max(LEAST_CPU_SHARE, fitting));
}
