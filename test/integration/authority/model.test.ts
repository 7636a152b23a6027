/** The token's protocol, explored exhaustively within CI_BOUNDS, and its mutants. */
import { expect, test } from 'vitest';
import { CI_BOUNDS } from '../../model/authority/bounds.ts';
import { explore, printFault } from '../../model/authority/explore.ts';
import { PRODUCTION } from '../../model/authority/machines.ts';
import { MUTANTS } from '../../model/authority/mutants.ts';

test.each(Object.entries(CI_BOUNDS))(
  '%s: one copy runs, and it is always decided',
  (name, bounds) => {
    const { fault, ...counts } = explore(PRODUCTION, bounds);
    console.log(`${name}: ${JSON.stringify({ ...bounds, ...counts })}`);
    expect(fault === undefined ? '' : printFault(fault)).toBe('');
    expect(counts.complete).toBe(true);
  },
);

test.each(MUTANTS.map((mutant) => [mutant.what, mutant] as const))(
  'noticed: %s',
  (_, { machines, bounds }) => {
    const { fault } = explore(machines, bounds);
    expect(fault).toBeDefined();
  },
);
