import type { StreamRound } from './freshness.ts';

/** One small round may be chance; QEMU looks at the guest before each. */
const SMALL_ROUNDS = 2;

/**
 * Whether a guest that is stopped now leaves no more than `budgetBytes` to be read: the last fresh
 * rounds each had no more. Rounds that QEMU made before the draining began say nothing. Pure.
 */
export function isConverged(
  rounds: readonly (Pick<StreamRound, 'bytes'> & { readonly isFresh: boolean })[],
  { budgetBytes }: { readonly budgetBytes: number },
): boolean {
  const last = rounds.slice(-SMALL_ROUNDS);
  if (last.length < SMALL_ROUNDS) return false;
  return last.every(({ isFresh, bytes }) => isFresh && bytes <= budgetBytes);
}
