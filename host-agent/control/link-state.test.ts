import fc from 'fast-check';
import { expect, test } from 'vitest';
import { POOL } from '../../test/fixtures/protocol.ts';
import { HostId } from '../protocol/ids.ts';
import type { ControlFrame } from '../protocol/messages.ts';
import {
  FIRST_STATE,
  type LinkEffect,
  type LinkEvent,
  type LinkState,
  step,
  TRANSITIONS,
} from './link-state.ts';

const welcome: ControlFrame = { type: 'welcome', hostId: HostId.parse('host-1'), pool: POOL };
const turnedAway: ControlFrame = { type: 'turned-away', why: 'lacks sse4_2' };
const request: ControlFrame = {
  type: 'request',
  requestId: 'r1',
  request: { kind: 'fetch-artifacts', digests: [] },
};

const admitted: LinkState = { kind: 'admitted', hostId: HostId.parse('host-1'), pool: POOL };
const away: LinkState = { kind: 'turned-away', why: 'lacks sse4_2' };
const greeting: LinkState = { kind: 'greeting', attempt: 2 };
const connecting: LinkState = { kind: 'connecting', attempt: 2 };
const waiting: LinkState = { kind: 'waiting', attempt: 2 };

test.each<[string, LinkState, LinkEvent, LinkState['kind'], LinkEffect['kind'][]]>([
  ['connects when due', FIRST_STATE, { kind: 'due' }, 'connecting', ['connect']],
  ['greets when open', connecting, { kind: 'opened' }, 'greeting', ['send-hello', 'wake']],
  [
    'is admitted',
    greeting,
    { kind: 'frame', frame: welcome },
    'admitted',
    ['admit', 'send-report'],
  ],
  [
    'is turned away, reports all the same, asks again',
    greeting,
    { kind: 'frame', frame: turnedAway },
    'turned-away',
    ['send-report', 'wake'],
  ],
  ['serves when admitted', admitted, { kind: 'frame', frame: request }, 'admitted', ['serve']],
  ['serves when turned away', away, { kind: 'frame', frame: request }, 'turned-away', ['serve']],
  [
    'takes no request before welcome',
    greeting,
    { kind: 'frame', frame: request },
    'greeting',
    ['close'],
  ],
  [
    'closes on a wrong frame',
    admitted,
    { kind: 'malformed', what: 'not JSON' },
    'admitted',
    ['close'],
  ],
  ['gives up on a silent greeting', greeting, { kind: 'due' }, 'greeting', ['close']],
  ['asks again on a new connection', away, { kind: 'due' }, 'turned-away', ['close']],
  ['backs off after a failed connect', connecting, { kind: 'closed' }, 'waiting', ['back-off']],
  ['backs off after a drop', admitted, { kind: 'closed' }, 'waiting', ['back-off']],
])('%s', (_name, state, event, kind, effects) => {
  const next = step(state, event);
  if (next.kind !== 'moved') throw new Error(`expected a move, got ${next.kind}`);
  expect(next.state.kind).toBe(kind);
  expect(next.effects.map((effect) => effect.kind)).toEqual(effects);
});

test('only being greeted resets the attempts', () => {
  expect(step(greeting, { kind: 'closed' })).toMatchObject({ state: { attempt: 3 } });
  expect(step(away, { kind: 'closed' })).toMatchObject({ state: { attempt: 0 } });
});

test('no sequence of events leaves the table or opens two sockets', () => {
  const states = [FIRST_STATE, waiting, connecting, greeting, admitted, away];
  const events: LinkEvent[] = [
    { kind: 'due' },
    { kind: 'opened' },
    { kind: 'closed' },
    { kind: 'malformed', what: 'x' },
    { kind: 'frame', frame: welcome },
    { kind: 'frame', frame: turnedAway },
    { kind: 'frame', frame: request },
  ];
  fc.assert(
    fc.property(fc.constantFrom(...states), fc.array(fc.constantFrom(...events)), (from, walk) => {
      let state = from;
      for (const event of walk) {
        const next = step(state, event);
        if (next.kind !== 'moved') continue;
        const connects = next.effects.some((effect) => effect.kind === 'connect');
        expect(connects).toBe(state.kind === 'waiting');
        expect([...TRANSITIONS[state.kind]]).toContain(next.state.kind);
        state = next.state;
      }
    }),
  );
});
