import { expect, test } from 'vitest';
import { isConverged } from './is-converged.ts';

const fresh = (bytes: number) => ({ bytes, isFresh: true });
const stale = (bytes: number) => ({ bytes, isFresh: false });

test.each<[string, readonly ReturnType<typeof fresh>[], boolean]>([
  ['nothing was read', [], false],
  ['one small round', [fresh(1)], false],
  ['two small rounds', [fresh(9), fresh(10)], true],
  ['small ones of before', [stale(1), stale(1)], false],
  ['one of before', [stale(1), fresh(1)], false],
  ['large ones long ago', [fresh(500), fresh(10), fresh(10)], true],
  ['a large one in between', [fresh(10), fresh(11), fresh(10)], false],
])('%s', (_what, rounds, wanted) => {
  expect(isConverged(rounds, { budgetBytes: 10 })).toBe(wanted);
});
