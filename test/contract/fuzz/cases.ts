/** Drawn cases: a new seed for every run, printed, and the same again with ARCHITECT_FUZZ_SEED. */
import { randomInt } from 'node:crypto';
import fc from 'fast-check';

const MAX_SEED = 2 ** 31 - 1;
const SEED = Number(process.env.ARCHITECT_FUZZ_SEED ?? randomInt(MAX_SEED));

/** Throws with the smallest case that fails. */
export function judge<T>(cases: fc.Arbitrary<T>, numRuns: number, check: (one: T) => void): void {
  console.log(`${numRuns} cases, ARCHITECT_FUZZ_SEED=${SEED}`);
  fc.assert(fc.property(cases, check), { seed: SEED, numRuns });
}

/** As `judge`, one case after the other. */
export async function judgeEach<T>(
  cases: fc.Arbitrary<T>,
  numRuns: number,
  check: (one: T) => Promise<void>,
): Promise<void> {
  console.log(`${numRuns} cases, ARCHITECT_FUZZ_SEED=${SEED}`);
  await fc.assert(fc.asyncProperty(cases, check), { seed: SEED, numRuns });
}
