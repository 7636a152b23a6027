import { expect, test } from 'vitest';
import { HostId } from '../../host-agent/protocol/ids.ts';
import { Hello, PROTOCOL_VERSION, Report } from '../../host-agent/protocol/messages.ts';
import { hostFacts, POOL } from '../../test/fixtures/protocol.ts';
import type { Admission } from './admission.ts';
import {
  describeHost,
  HELLO_LIMIT_MS,
  type HostEvent,
  type HostState,
  SILENCE_LIMIT_MS,
  stepHost,
} from './host-connection.ts';

const BOOT = '00000000-0000-4000-8000-000000000001';
const OTHER_BOOT = '00000000-0000-4000-8000-000000000002';
const facts = hostFacts();
const admitted: Admission = { kind: 'admitted', pool: POOL };
const unfit: Admission = { kind: 'turned-away', why: 'It does not fit.' };

function hello(nowMs: number, admission = admitted, bootId = BOOT, protocol = PROTOCOL_VERSION) {
  const said = { type: 'hello', protocol, agentVersion: '1', bootId, facts };
  return { kind: 'hello', hello: Hello.parse(said), admission, nowMs } as const;
}

function report(seq: number, nowMs: number) {
  const said = { type: 'report', seq, sentAtMs: nowMs, artifacts: [], vms: [], notice: null };
  return { kind: 'report', report: Report.parse(said), nowMs } as const;
}

function run(...events: readonly HostEvent[]): HostState {
  let state: HostState = { kind: 'away', sinceMs: 0, last: undefined };
  for (const event of events) {
    const step = stepHost(state, event);
    if (step.kind === 'moved') state = step.state;
  }
  return state;
}

test('a notice is read on our clock, where the host has another', () => {
  const notice = { kind: 'interruption', deadlineMs: 5_000, source: 'ec2', seenAtMs: 1_000 };
  const readAt = (nowMs: number, sentAtMs: number) => {
    const said = { type: 'report', seq: 1, sentAtMs, artifacts: [], vms: [], notice };
    const event = { kind: 'report', report: Report.parse(said), nowMs } as const;
    const state = run(attached(10), hello(20), event);
    return state.kind === 'connected' ? state.last.report?.notice : undefined;
  };
  expect(readAt(1_000, 1_000)).toEqual(notice);
  expect(readAt(9_000, 1_000)).toEqual(notice);
  expect(readAt(1_000, 3_000)).toEqual({ ...notice, deadlineMs: 3_000, seenAtMs: -1_000 });
  expect(readAt(101_000, 1_000)).toEqual({ ...notice, deadlineMs: 105_000, seenAtMs: 101_000 });
});

const attached = (nowMs: number) => ({ kind: 'attached', nowMs }) as const;

test('a fitting host is welcomed', () => {
  const step = stepHost(run(attached(10)), hello(20));
  expect(step).toMatchObject({
    state: { kind: 'connected', sinceMs: 20 },
    effects: [{ kind: 'send-welcome', pool: POOL }],
  });
});

test('a host that does not fit, or speaks another protocol, is told why', () => {
  const effect = (event: HostEvent) => stepHost(run(attached(10)), event);
  expect(effect(hello(20, unfit))).toMatchObject({
    state: { kind: 'turned-away', why: 'It does not fit.' },
    effects: [{ kind: 'send', frame: { type: 'turned-away', why: 'It does not fit.' } }],
  });
  expect(effect(hello(20, admitted, BOOT, PROTOCOL_VERSION + 1))).toMatchObject({
    state: { kind: 'turned-away', why: expect.stringContaining('same version') },
  });
});

test('a newer report replaces an older one, and an older one is ignored', () => {
  const state = run(attached(1), hello(2), report(5, 3), report(4, 4));
  expect(state.last?.report?.seq).toBe(5);
  expect(stepHost(state, report(5, 5)).kind).toBe('ignored');
});

test('a restarted agent counts its reports from the start', () => {
  const state = run(
    attached(1),
    hello(2),
    report(5, 3),
    attached(4),
    hello(5, admitted, OTHER_BOOT),
  );
  expect(state.last?.report).toBeUndefined();
  expect(stepHost(state, report(1, 6)).kind).toBe('moved');
});

test('the same agent on a new connection keeps its newest report', () => {
  const state = run(attached(1), hello(2), report(5, 3), attached(4), hello(5));
  expect(state.last?.report?.seq).toBe(5);
});

test('a report before hello and a second hello break the protocol', () => {
  expect(stepHost(run(attached(1)), report(1, 2)).kind).toBe('refused');
  expect(stepHost(run(attached(1), hello(2)), hello(3)).kind).toBe('refused');
});

test('dialling without a hello does not shorten the absence', () => {
  const state = run(attached(1), hello(2), { kind: 'detached', nowMs: 50 }, attached(90));
  expect(describeHost(HostId.parse('h'), 'h', state)).toMatchObject({
    state: 'away',
    stateSinceMs: 50,
  });
});

test('a silent host is given up', () => {
  const tick = (nowMs: number) => ({ kind: 'tick', admission: undefined, nowMs }) as const;
  const greeting = run(attached(0));
  expect(stepHost(greeting, tick(HELLO_LIMIT_MS)).kind).toBe('ignored');
  expect(stepHost(greeting, tick(HELLO_LIMIT_MS + 1))).toMatchObject({ state: { kind: 'away' } });
  const heard = run(attached(0), hello(0), { kind: 'heard', nowMs: 100 });
  expect(stepHost(heard, tick(100 + SILENCE_LIMIT_MS)).kind).toBe('ignored');
  expect(stepHost(heard, tick(101 + SILENCE_LIMIT_MS))).toMatchObject({
    state: { kind: 'away' },
    effects: [{ kind: 'close' }],
  });
});

test('a changed pool is judged anew, an unchanged one is not mentioned again', () => {
  const state = run(attached(0), hello(0));
  expect(stepHost(state, { kind: 'tick', admission: admitted, nowMs: 1 }).kind).toBe('ignored');
  expect(stepHost(state, { kind: 'tick', admission: unfit, nowMs: 1 })).toMatchObject({
    state: { kind: 'turned-away', sinceMs: 1 },
  });
  const turnedAway = run(attached(0), hello(0, unfit));
  expect(stepHost(turnedAway, { kind: 'tick', admission: admitted, nowMs: 1 })).toMatchObject({
    state: { kind: 'connected', sinceMs: 1 },
    effects: [{ kind: 'send-welcome' }],
  });
});
