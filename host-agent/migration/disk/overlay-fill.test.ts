import { expect, test } from 'vitest';
import { planRuns } from './overlay-fill.ts';

test.each([
  ['nothing', [], []],
  ['neighbours', [3, 4, 5], [{ first: 3, count: 3 }]],
  [
    'two runs',
    [1, 2, 9],
    [
      { first: 1, count: 2 },
      { first: 9, count: 1 },
    ],
  ],
  [
    'a turn-around',
    [5, 6, 0],
    [
      { first: 5, count: 2 },
      { first: 0, count: 1 },
    ],
  ],
])('%s', (_what, clusters, runs) => {
  expect(planRuns(clusters, () => 'own')).toEqual(runs);
});

test('a run has one state, and an end', () => {
  const clusters = Array.from({ length: 20 }, (_, at) => at);
  const runs = planRuns(clusters, (cluster) => (cluster < 2 ? 'zero' : 'own'));
  expect(runs.map(({ count }) => count)).toEqual([2, 16, 2]);
});
