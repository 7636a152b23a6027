import { expect, it } from 'vitest';
import { jobRecord, vmRecord } from '../../../test/fixtures/records.ts';
import { JobDetail } from '../../api/views.ts';
import { judgeSmoke, phasesOf, type SmokeSeen } from './judge-smoke.ts';

const LIMIT_MS = 60_000;
const QUEUED = { id: '7', status: 'queued', conclusion: null, runnerName: null };
const GREEN = {
  ...QUEUED,
  status: 'completed',
  conclusion: 'success',
  runnerName: 'architect-vm-1',
};
const DONE = detail({ state: 'completed', conclusion: 'success' });

function detail(
  job: Parameters<typeof jobRecord>[0] = {},
  over: Partial<JobDetail> = {},
): JobDetail {
  const none = { waiting: null, timeline: [], moves: [], lockMarginMs: null, cost: null };
  return JobDetail.parse({ ...none, job: jobRecord(job), vm: vmRecord(), ...over });
}

function seen(over: Partial<SmokeSeen>): SmokeSeen {
  const run = { status: 'queued', conclusion: null };
  return { run, job: QUEUED, detail: undefined, ageMs: 0, ...over };
}

const NO_HOST = { cause: 'no-host', why: 'It waits for a host.', sinceMs: 1 } as const;

it.each<[string, Partial<SmokeSeen>, RegExp]>([
  ['GitHub has made no job yet', { job: undefined }, /no job of the run yet/],
  ['only GitHub knows it', {}, /has not heard of it/],
  ['it waits', { detail: detail({}, { waiting: NO_HOST }) }, /\(no-host\): It waits for a host/],
  ['it is planned', { detail: detail() }, /plans/],
  ['it runs', { detail: detail({ state: 'in-progress' }) }, /runs on host-1/],
  ['its end was not heard of', { job: GREEN, detail: detail() }, /done; the control plane has not/],
])('waits while %s, until that has lasted too long', (_what, over, text) => {
  const waiting = judgeSmoke(seen({ ...over, ageMs: LIMIT_MS }), LIMIT_MS);
  expect(waiting).toEqual({ kind: 'waiting', text: expect.stringMatching(text) });
  expect(judgeSmoke(seen({ ...over, ageMs: LIMIT_MS + 1 }), LIMIT_MS)).toEqual({
    kind: 'failed',
    why: expect.stringMatching(text),
    fix: expect.stringContaining('architect doctor'),
  });
});

it('is green when both say so, however late', () => {
  const both = seen({ job: GREEN, detail: DONE, ageMs: LIMIT_MS + 1 });
  expect(judgeSmoke(both, LIMIT_MS)).toEqual({ kind: 'green' });
});

it.each<[string, Partial<SmokeSeen>, RegExp, RegExp]>([
  [
    'refused',
    { detail: detail({ state: 'refused', why: 'cpu=64 is not allowed.' }) },
    /refused: cpu=64/,
    /policy/,
  ],
  ['lost', { detail: detail({ state: 'lost', why: 'Its host died.' }) }, /host died/, /job 7/],
  ['red', { job: { ...GREEN, conclusion: 'failure' }, detail: DONE }, /with failure/, /log/],
  [
    'taken by another runner',
    { job: { ...GREEN, runnerName: 'someone' }, detail: DONE },
    /runner someone ran it/,
    /labels/,
  ],
  [
    'over without a job',
    { run: { status: 'completed', conclusion: 'startup_failure' }, job: undefined },
    /without a job/,
    /page/,
  ],
])('fails at once when it is %s', (_what, over, why, fix) => {
  expect(judgeSmoke(seen(over), LIMIT_MS)).toEqual({
    kind: 'failed',
    why: expect.stringMatching(why),
    fix: expect.stringMatching(fix),
  });
});

it('has the phases in the order of time, from the dispatch on', () => {
  const timeline = [
    { moment: 'vm-started', atMs: 1_900 },
    { moment: 'webhook-received', atMs: 1_200 },
    { moment: 'guest-ready', atMs: 1_950 },
    { moment: 'runner-online', atMs: 2_800 },
  ] as const;
  expect(phasesOf(1_000, detail({}, { timeline: [...timeline] }))).toEqual([
    { phase: 'dispatched', atMs: 1_000 },
    { phase: 'seen by the control plane', atMs: 1_200 },
    { phase: 'VM started', atMs: 1_900 },
    { phase: 'runner online', atMs: 2_800 },
  ]);
  expect(phasesOf(5, undefined)).toEqual([{ phase: 'dispatched', atMs: 5 }]);
  const early = { moment: 'in-progress', atMs: 1_000 } as const;
  expect(phasesOf(1_300, detail({}, { timeline: [early] }))).toEqual([
    { phase: 'dispatched', atMs: 1_300 },
    { phase: 'running', atMs: 1_300 },
  ]);
});
