import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseScheduledEvents, parseVmName } from './parse-azure.ts';
import { parseInstanceAction, parseRebalance, parseToken } from './parse-ec2.ts';
import { etagOf, parseMaintenance, parsePreempted } from './parse-gcp.ts';
import { type MetadataAnswer, serviceClockMs } from './topic-answer.ts';

const TIME = '2026-11-23T20:00:00Z';
const AT_MS = Date.parse(TIME);

function answer(status: number, body: unknown, headers: Record<string, string> = {}) {
  return { status, headers, body: typeof body === 'string' ? body : JSON.stringify(body) };
}
const google = (body: string) => answer(200, body, { 'metadata-flavor': 'Google', etag: 'a1b2' });

describe('EC2', () => {
  test.each([
    [answer(404, 'Not Found'), { kind: 'none' }],
    [answer(401, 'Unauthorized'), { kind: 'token-refused' }],
    [
      answer(200, { action: 'stop', time: TIME }),
      { kind: 'said', said: { kind: 'interruption', key: `stop ${TIME}`, atMs: AT_MS } },
    ],
    [answer(500, 'oops'), { kind: 'unusable' }],
    [answer(404 + 1, { action: 'stop', time: TIME }), { kind: 'unusable' }],
    [answer(200, '<html>'), { kind: 'unusable' }],
    [answer(200, { action: 'paint', time: TIME }), { kind: 'unusable' }],
    [answer(200, { action: 'stop', time: 'soon' }), { kind: 'unusable' }],
  ])('instance-action %j', (given, expected) => {
    expect(parseInstanceAction(given)).toMatchObject(expected);
  });

  test('a rebalance recommendation has no deadline, whatever its time', () => {
    const said = { kind: 'rebalance', key: TIME, atMs: undefined };
    expect(parseRebalance(answer(200, { noticeTime: TIME }))).toEqual({ kind: 'said', said });
    expect(parseRebalance(answer(404, ''))).toEqual({ kind: 'none' });
    expect(parseRebalance(answer(200, {}))).toMatchObject({ kind: 'unusable' });
  });

  test('only a token is a token', () => {
    expect(parseToken(answer(200, 'AQAEAB=='))).toBe('AQAEAB==');
    expect(parseToken(answer(403, 'AQAEAB=='))).toBeUndefined();
    expect(parseToken(answer(200, 'a\nheader: b'))).toBeUndefined();
  });
});

describe('Google', () => {
  test.each([
    [google('FALSE'), { kind: 'none' }],
    [google('TRUE\n'), { kind: 'said', said: { kind: 'interruption', key: 'preempted' } }],
    [google('maybe'), { kind: 'unusable' }],
    [answer(200, 'TRUE'), { kind: 'unusable' }],
    [answer(503, 'TRUE', { 'metadata-flavor': 'Google' }), { kind: 'unusable' }],
  ])('preempted %j', (given, expected) => {
    expect(parsePreempted(given)).toMatchObject(expected);
  });

  test.each([
    ['NONE', 'none'],
    ['MIGRATE_ON_HOST_MAINTENANCE', 'none'],
    ['TERMINATE_ON_HOST_MAINTENANCE', 'said'],
    ['SOMETHING_NEW', 'unusable'],
  ])('maintenance-event %s is %s', (text, kind) => {
    expect(parseMaintenance(google(text)).kind).toBe(kind);
  });

  test('an etag that could change the question is none', () => {
    expect(etagOf(google('NONE'))).toBe('a1b2');
    expect(etagOf(answer(200, '', { etag: 'a&wait_for_change=false' }))).toBeUndefined();
  });
});

describe('Azure', () => {
  const preempt = {
    EventId: 'e1',
    EventStatus: 'Scheduled',
    EventType: 'Preempt',
    ResourceType: 'VirtualMachine',
    Resources: ['vm-one', 'vm-two'],
    NotBefore: 'Mon, 23 Nov 2026 20:00:00 GMT',
  };
  const read = (...events: readonly object[]) =>
    parseScheduledEvents(answer(200, { DocumentIncarnation: 3, Events: events }), 'vm-one');

  test('an eviction of this machine is an interruption', () => {
    const said = { kind: 'interruption', key: 'e1', atMs: AT_MS };
    expect(read(preempt)).toEqual({ kind: 'said', said });
    expect(read()).toEqual({ kind: 'none' });
  });

  test('of several the soonest counts, and one that has started is the soonest', () => {
    const reboot = { ...preempt, EventId: 'e0', EventType: 'Reboot', NotBefore: '' };
    expect(read(preempt, reboot)).toMatchObject({ said: { key: 'e0', atMs: undefined } });
    const later = { ...preempt, EventId: 'e0', NotBefore: 'Mon, 23 Nov 2026 20:00:01 GMT' };
    expect(read(later, preempt)).toMatchObject({ said: { key: 'e1' } });
  });

  test.each([
    ['another machine’s', { Resources: ['vm-two'] }],
    ['a freeze', { EventType: 'Freeze' }],
    ['of a kind not heard of', { EventType: 'Polish' }],
  ])('%s event is none', (_name, over) => {
    expect(read({ ...preempt, ...over })).toEqual({ kind: 'none' });
  });

  test('without a name every machine’s event counts', () => {
    const given = answer(200, { DocumentIncarnation: 1, Events: [preempt] });
    expect(parseScheduledEvents(given, undefined)).toMatchObject({ kind: 'said' });
    expect(parseVmName(answer(200, 'vm-one\n'))).toBe('vm-one');
    expect(parseVmName(answer(500, 'vm-one'))).toBeUndefined();
  });

  test.each([
    answer(500, { DocumentIncarnation: 1, Events: [] }),
    answer(200, 'oops'),
    answer(200, {}),
  ])('%j is unusable', (given) => {
    expect(parseScheduledEvents(given, 'vm-one')).toMatchObject({ kind: 'unusable' });
  });
});

test('no text of any status makes a parser throw, or say more than it knows', () => {
  const anything: fc.Arbitrary<MetadataAnswer> = fc.record({
    status: fc.constantFrom(200, 204, 301, 400, 403, 500, 503),
    headers: fc.constant({ 'metadata-flavor': 'Google', date: 'nonsense' }),
    body: fc.oneof(fc.string(), fc.json()),
  });
  fc.assert(
    fc.property(anything, (given) => {
      for (const parse of [parseInstanceAction, parseRebalance, parsePreempted, parseMaintenance])
        expect(parse(given).kind).toBe('unusable');
      expect(parseScheduledEvents(given, undefined).kind).toBe('unusable');
      expect(serviceClockMs(given)).toBeUndefined();
    }),
  );
});
