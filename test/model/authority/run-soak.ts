/** `npm run soak -- --model`: the larger bounds, each with its counts; exit code 1 at a fault. */
import { SOAK_BOUNDS } from './bounds.ts';
import { explore, printFault } from './explore.ts';
import { PRODUCTION } from './machines.ts';

/** Explores one bound after the other and prints each result; false: one of them has a fault. */
export function soakModel(print: (text: string) => void): boolean {
  for (const [name, bounds] of Object.entries(SOAK_BOUNDS)) {
    const beganMs = performance.now();
    const { fault, states, transitions, depth, complete } = explore(PRODUCTION, bounds);
    const seconds = Math.round((performance.now() - beganMs) / 1000);
    print(`${name}: ${JSON.stringify(bounds)}`);
    const extent = complete ? 'all of them' : 'as many as the bounds let';
    print(
      `  ${states} states (${extent}), ${transitions} transitions, depth ${depth}, ${seconds} s`,
    );
    if (fault === undefined) continue;
    print(printFault(fault));
    return false;
  }
  return true;
}
