import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CLASS } from '../../test/fixtures/protocol.ts';
import { jobFacts } from '../../test/fixtures/records.ts';
import type { JobClassification } from '../labels/classify-job.ts';
import { stepJob } from './job-state.ts';
import type { JobFacts, JobRecord } from './records.ts';

const SERVED: JobClassification = { kind: 'served', class: CLASS, request: {} };
const REFUSED: JobClassification = { kind: 'refused', why: 'too large', class: CLASS };

function facts(status: JobFacts['status'], over: Partial<JobFacts> = {}): JobFacts {
  const ran = status === 'in_progress' || status === 'completed';
  return jobFacts({
    status,
    conclusion: status === 'completed' ? 'success' : null,
    runnerName: ran ? 'architect-vm-1' : null,
    startedAtMs: ran ? 2 : null,
    completedAtMs: status === 'completed' ? 3 : null,
    ...over,
  });
}

function feed(events: readonly JobFacts[], classification = SERVED): JobRecord | undefined {
  let record: JobRecord | undefined;
  for (const event of events) {
    const step = stepJob({ record, facts: event, classification, nowMs: 10 });
    if (step.kind !== 'moved') continue;
    expect(step.record.generation).toBe((record?.generation ?? 0) + 1);
    record = step.record;
  }
  return record;
}

describe('stepJob', () => {
  it.each([
    [['waiting'], undefined],
    [['queued'], 'queued'],
    [['queued', 'in_progress'], 'in-progress'],
    [['in_progress', 'queued'], 'in-progress'],
    [['completed'], 'completed'],
    [['completed', 'queued', 'in_progress'], 'completed'],
  ] as const)('%j comes to %s', (statuses, state) => {
    expect(feed(statuses.map((status) => facts(status)))?.state).toBe(state);
  });

  it('comes to the same end in any order, with any repetition', () => {
    const all = [facts('queued'), facts('in_progress'), facts('completed')];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...all)), (events) => {
        const end = feed([...events, facts('completed')]);
        expect(end).toMatchObject({ state: 'completed', conclusion: 'success', vmId: 'vm-1' });
        expect({ ...end, generation: 0 }).toEqual({ ...feed([facts('completed')]), generation: 0 });
      }),
    );
  });

  it('ignores what is not ours and keeps what is refused, with its reason', () => {
    expect(feed([facts('queued')], { kind: 'not-ours' })).toBeUndefined();
    const refused = feed([facts('queued'), facts('in_progress')], REFUSED);
    expect(refused).toMatchObject({ state: 'refused', why: 'too large' });
  });

  it('knows the VM by the runner and a foreign runner as none', () => {
    expect(feed([facts('in_progress')])?.vmId).toBe('vm-1');
    expect(feed([facts('in_progress', { runnerName: 'other' })])?.vmId).toBeNull();
    const again = feed([
      facts('in_progress'),
      facts('in_progress', { runnerName: 'architect-vm-2' }),
    ]);
    expect(again?.vmId).toBe('vm-2');
  });

  it('lets only a success overrule a loss', () => {
    const running = feed([facts('queued'), facts('in_progress')]);
    if (running === undefined) throw new Error('no record');
    const lost: JobRecord = { ...running, state: 'lost', why: 'its VM died' };
    const step = (event: JobFacts) =>
      stepJob({ record: lost, facts: event, classification: SERVED, nowMs: 10 });
    expect(step(facts('in_progress')).kind).toBe('ignored');
    expect(step(facts('completed'))).toMatchObject({ record: { state: 'completed', why: null } });
    expect(step(facts('completed', { conclusion: 'failure' }))).toMatchObject({
      record: { state: 'lost', why: 'its VM died', conclusion: 'failure' },
    });
  });
});
