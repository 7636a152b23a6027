/**
 * How much to seal now. Pure.
 *
 *   what is cold ── a pack of it, or it has waited ──▶ as much as a core's share since the last time
 *                                                     pays for, and as the store takes in one step
 *
 * Sealing costs the guest nothing but the time of a core that it might use, so that is what is bound: a
 * large guest that has become cold is sealed at the same share as a small one, in larger steps. A slow
 * store makes steps small, for QEMU's stream is not read meanwhile, and a failing one a single pack.
 */
import { PACK_TARGET_BYTES } from '../../chunks/pack.ts';

/** What sealing may take of one core, over time. */
export const SEAL_SHARE = 0.1;
/** How much rest counts: a share of more would come in one piece. */
const MAX_RESTED_MS = 60_000;
/** Less than a pack is not worth a request, unless it has waited for so long. */
const MAX_WAIT_MS = 60_000;
/** At the store's pace. */
export const MAX_STEP_MS = 5_000;
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

/** In whole packs but for a rest that has waited; 0: nothing now. `history`: the latest last. */
export function planSeal({
  coldBytes,
  restedMs,
  history,
}: {
  readonly coldBytes: number;
  /** Since the last step. */
  readonly restedMs: number;
  readonly history: readonly PastSeal[];
}): { readonly limitBytes: number } {
  const recent = history.slice(-LAST_STEPS);
  const limit = Math.min(coldBytes, affordableBytes(recent, restedMs), storableBytes(recent));
  const packs = Math.floor(limit / PACK_TARGET_BYTES);
  if (packs > 0) return { limitBytes: packs * PACK_TARGET_BYTES };
  return { limitBytes: restedMs > MAX_WAIT_MS ? Math.min(coldBytes, PACK_TARGET_BYTES) : 0 };
}

function affordableBytes(recent: readonly PastSeal[], restedMs: number): number {
  const costs = recent.flatMap(({ bytes, cpuMs }) => (bytes > 0 ? [cpuMs / bytes] : []));
  const cpuMsPerByte = Math.max(median(costs) ?? FIRST_CPU_MS_PER_BYTE, Number.MIN_VALUE);
  return (SEAL_SHARE * Math.min(restedMs, MAX_RESTED_MS)) / cpuMsPerByte;
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
