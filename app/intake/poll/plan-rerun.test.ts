import { expect, it } from 'vitest';
import { JobId } from '../../../host-agent/protocol/ids.ts';
import { planRerun, type RunLook } from './plan-rerun.ts';

const DAY_MS = 86_400_000;
const NOW_MS = 100 * DAY_MS;
const id = (n: number) => JobId.parse(String(n));
const lost = (...ids: number[]) => ids.map((n) => ({ id: id(n), lostAtMs: NOW_MS - 1 }));
const run = (over: Partial<RunLook> = {}): RunLook => ({
  completed: true,
  attempt: 1,
  jobs: [1, 2, 3].map((n) => ({ id: id(n), labels: ['architect'] })),
  ...over,
});
const marked = [
  { id: id(1), labels: ['architect'] },
  { id: id(2), labels: ['architect/rerun=false'] },
];

it.each([
  ['one lost job', run(), lost(1), 'job'],
  ['several', run(), lost(1, 2), 'failed'],
  ['its run goes on', run({ completed: false }), lost(1), 'wait'],
  ['run again 49 times', run({ attempt: 50 }), lost(1), 'job'],
  ['run again 50 times', run({ attempt: 51 }), lost(1), 'never'],
  ['another job of the run is marked', run({ jobs: marked }), lost(1), 'never'],
  ['somebody ran it again', run({ attempt: 2 }), lost(9), 'never'],
  ['one of two was run again', run({ attempt: 2 }), lost(1, 9), 'job'],
  ['the run is gone', undefined, lost(1), 'never'],
  [
    'eight days ago',
    run({ completed: false }),
    [{ id: id(1), lostAtMs: NOW_MS - 8 * DAY_MS }],
    'never',
  ],
] as const)('%s', (_, look, jobs, kind) => {
  expect(planRerun(look, jobs, NOW_MS).kind).toBe(kind);
});
