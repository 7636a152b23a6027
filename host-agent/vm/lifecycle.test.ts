import { describe, expect, test } from 'vitest';
import { JobId } from '../protocol/ids.ts';
import { type Phase, step, TRANSITIONS, type VmEvent, type VmState } from './lifecycle.ts';

const jobId = JobId.parse('1');
const otherJob = JobId.parse('2');

const STATES: Record<Phase, VmState> = {
  allocating: { phase: 'allocating' },
  starting: { phase: 'starting' },
  idle: { phase: 'idle' },
  assigned: { phase: 'assigned', jobId, runner: { state: 'waiting' } },
  draining: { phase: 'draining', why: 'asked to', jobId },
  stopped: { phase: 'stopped', why: 'asked to', jobId },
  failed: { phase: 'failed', why: 'QEMU died', jobId },
};

const EVENTS: VmEvent[] = [
  { kind: 'launched' },
  { kind: 'ready' },
  { kind: 'assign', jobId },
  { kind: 'assign', jobId: otherJob },
  { kind: 'runner', runner: { state: 'running' } },
  { kind: 'stop', why: 'enough' },
  { kind: 'broke', why: 'late' },
  { kind: 'gone' },
];

const PAIRS = Object.values(STATES).flatMap((state) => EVENTS.map((event) => ({ state, event })));

test.each(PAIRS)('$state.phase + $event.kind keeps to the transition table', ({ state, event }) => {
  const outcome = step(state, event);
  if (outcome.kind !== 'moved') return;
  const allowed: readonly Phase[] = TRANSITIONS[state.phase];
  expect(allowed).toContain(outcome.state.phase);
  expect(outcome.effects).toContain('save-state');
});

describe('assigning', () => {
  test('an idle VM takes the job', () => {
    expect(step(STATES.idle, { kind: 'assign', jobId })).toMatchObject({
      kind: 'moved',
      effects: ['save-state', 'hand-in-job', 'watch-runner'],
    });
  });

  test('the same job again changes nothing', () => {
    expect(step(STATES.assigned, { kind: 'assign', jobId })).toEqual({ kind: 'ignored' });
  });

  test.each(['allocating', 'starting', 'draining', 'stopped', 'failed'] as const)(
    'a VM that is %s refuses',
    (phase) => {
      expect(step(STATES[phase], { kind: 'assign', jobId: otherJob }).kind).toBe('refused');
    },
  );

  test('another job is refused, naming the one it has', () => {
    const outcome = step(STATES.assigned, { kind: 'assign', jobId: otherJob });
    expect(outcome).toEqual({ kind: 'refused', why: 'the VM already has job 1' });
  });
});

describe('ending', () => {
  test.each(['allocating', 'starting', 'idle', 'assigned'] as const)(
    'a VM that breaks while %s has failed, and QEMU is ended',
    (phase) => {
      expect(step(STATES[phase], { kind: 'broke', why: 'x' })).toMatchObject({
        kind: 'moved',
        state: { phase: 'failed', why: 'x' },
        effects: ['save-state', 'end-qemu'],
      });
    },
  );

  test('a VM that breaks while it drains has stopped, as was wanted', () => {
    expect(step(STATES.draining, { kind: 'broke', why: 'x' })).toEqual({ kind: 'ignored' });
    expect(step(STATES.draining, { kind: 'gone' })).toMatchObject({
      state: { phase: 'stopped', why: 'asked to', jobId },
    });
  });

  test('the first cause wins', () => {
    expect(step(STATES.failed, { kind: 'stop', why: 'later' })).toEqual({ kind: 'ignored' });
    expect(step(STATES.failed, { kind: 'broke', why: 'later' })).toEqual({ kind: 'ignored' });
  });
});

test("a runner's exit is final", () => {
  const state: VmState = {
    phase: 'assigned',
    jobId,
    runner: { state: 'exited', exitCode: 0 },
  };
  const outcome = step(state, { kind: 'runner', runner: { state: 'running' } });
  expect(outcome).toEqual({ kind: 'ignored' });
});
