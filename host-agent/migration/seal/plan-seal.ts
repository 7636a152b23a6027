/**
 * How much to seal now. Pure.
 *
 *   what is cold ── some packs of it, or it has waited ──▶ as much as a share of a core since the last
 *                                                          step pays for, and the store takes in a step
 *
 * Sealing costs the guest nothing but the time of a core that it might use, so that is what is bound:
 * a tenth of one, and half of what nobody uses. The store's link is the jobs', too: after a step it is
 * left alone for as long as that took. A slow store makes steps small, and a failing one a single pack.
 */
import { PACK_TARGET_BYTES } from '../../chunks/pack.ts';

/** What sealing may take of one core over time, however busy the host is. */
export const SEAL_SHARE = 0.1;
/** … of what is idle on the host, and of one core. */
export const IDLE_SHARE = 0.5;
/** Of the time, the store's link is used. */
export const STORE_SHARE = 0.5;
/** Less than a pack is not worth a request, unless it has waited for so long. */
const MAX_WAIT_MS = 60_000;
/** At the store's pace; also what is lost when a move begins in the middle of one. */
export const MAX_STEP_MS = 1_000;
/** A step's last pack is seldom full, and each is a request. */
const LEAST_STEP_BYTES = 4 * PACK_TARGET_BYTES;
/** Compression, hash and cipher; until it is measured. */
const FIRST_CPU_MS_PER_BYTE = 10 / (1024 * 1024);
/** Until the store's pace is known. */
const FIRST_STEP_BYTES = 2 * PACK_TARGET_BYTES;
/** What is older says nothing any more. */
export const LAST_STEPS = 5;

export interface PastSeal {
  /** 0: the store did not take it. */
  readonly bytes: number;
  /** From its beginning until the store had it. */
  readonly ms: number;
  readonly cpuMs: number;
}

export interface SealSituation {
  readonly coldBytes: number;
  /** Since the last step. */
  readonly restedMs: number;
  /** Cores that nobody used since then, or undefined: not known. */
  readonly idleCores: number | undefined;
  /** The latest last. */
  readonly history: readonly PastSeal[];
}

/** In whole packs but for a rest that has waited; 0: nothing now. */
export function planSeal({ coldBytes, restedMs, idleCores, history }: SealSituation): {
  readonly limitBytes: number;
} {
  const recent = history.slice(-LAST_STEPS);
  if (restedMs < linkRestMs(recent)) return { limitBytes: 0 };
  const worthBytes = Math.min(coldBytes, storableBytes(recent));
  const limit = Math.min(worthBytes, affordableBytes(recent, restedMs * shareOf(idleCores)));
  const packs = toPacks(limit);
  const least = toPacks(Math.min(worthBytes, LEAST_STEP_BYTES));
  if (packs > 0 && packs >= least) return { limitBytes: packs * PACK_TARGET_BYTES };
  return { limitBytes: restedMs > MAX_WAIT_MS ? Math.min(coldBytes, PACK_TARGET_BYTES) : 0 };
}

function toPacks(bytes: number): number {
  return Math.floor(bytes / PACK_TARGET_BYTES);
}

function shareOf(idleCores: number | undefined): number {
  return Math.min(IDLE_SHARE, Math.max(SEAL_SHARE, (idleCores ?? 0) * IDLE_SHARE));
}

function linkRestMs(recent: readonly PastSeal[]): number {
  return (recent.at(-1)?.ms ?? 0) * (1 / STORE_SHARE - 1);
}

function affordableBytes(recent: readonly PastSeal[], cpuMs: number): number {
  const costs = recent.flatMap((past) => (past.bytes > 0 ? [past.cpuMs / past.bytes] : []));
  const cpuMsPerByte = Math.max(median(costs) ?? FIRST_CPU_MS_PER_BYTE, Number.MIN_VALUE);
  return cpuMs / cpuMsPerByte;
}

function storableBytes(recent: readonly PastSeal[]): number {
  const last = recent.at(-1);
  if (last === undefined) return FIRST_STEP_BYTES;
  if (last.bytes === 0) return PACK_TARGET_BYTES;
  const paces = recent.flatMap(({ bytes, ms }) => (bytes > 0 ? [bytes / Math.max(1, ms)] : []));
  return Math.max(PACK_TARGET_BYTES, (median(paces) ?? 0) * MAX_STEP_MS);
}

function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}
