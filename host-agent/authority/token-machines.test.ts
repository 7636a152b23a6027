/** Any events in any order: the tables hold, and nothing is said or run that is not on disk. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HostId, MigrationId } from '../protocol/ids.ts';
import type { PeerMove, TokenMessage } from '../protocol/token-messages.ts';
import {
  mayRun,
  SOURCE_TRANSITIONS,
  type SourceEvent,
  type SourceToken,
  stepSource,
} from './source-token.ts';
import {
  beginReservation,
  stepTarget,
  TARGET_TRANSITIONS,
  type TargetEvent,
  type TargetToken,
} from './target-token.ts';

const peer = HostId.parse('peer');
const moves = [2, 3].map(
  (epoch): PeerMove => ({ migrationId: MigrationId.parse(`m${epoch}`), epoch, hostId: peer }),
);
const move = fc.constantFrom(...moves);
const lease = fc.constantFrom(null, { untilMs: 1 }, { untilMs: 2 });

const message: fc.Arbitrary<TokenMessage> = fc.oneof(
  fc.record({ kind: fc.constant('give' as const), move, lease }),
  fc.record({ kind: fc.constant('refused' as const), move, why: fc.constant('') }),
  fc.record({ kind: fc.constantFrom('received' as const, 'unknown', 'released', 'settled'), move }),
);
const heard = fc.record({
  kind: fc.constant('message' as const),
  from: fc.constant(peer),
  message,
});
const written = fc.record({ kind: fc.constantFrom('journalled' as const, 'journal-failed') });
const open = fc.record({ kind: fc.constantFrom('resend' as const, 'doubt') });
const discard = fc.record({ kind: fc.constant('discard' as const), below: fc.constantFrom(1, 3) });

const sourceEvent: fc.Arbitrary<SourceEvent> = fc.oneof(
  heard,
  written,
  open,
  discard,
  fc.record({ kind: fc.constant('freeze' as const), move }),
  fc.record({ kind: fc.constantFrom('hand-over' as const, 'abort', 'ended') }),
  fc.record({ kind: fc.constant('regrant' as const), move, epoch: fc.constantFrom(2, 4), lease }),
  fc.record({
    kind: fc.constant('lease' as const),
    epoch: fc.constantFrom(1, 2),
    lease: fc.constant({ untilMs: 3 }),
  }),
);
const targetEvent: fc.Arbitrary<TargetEvent> = fc.oneof(
  heard,
  written,
  fc.record({ kind: fc.constantFrom('ran' as const, 'never-ran') }),
  open,
  discard,
  fc.constant({ kind: 'loaded' as const }),
  fc.record({ kind: fc.constant('refuse' as const), why: fc.constant('') }),
  fc.record({ kind: fc.constant('void' as const), move, why: fc.constant('') }),
);

const allows = (table: Readonly<Record<string, readonly string[]>>, from: string, to: string) =>
  table[from]?.includes(to) ?? false;

test('a source keeps to its table, and gives only what it has journalled', () => {
  fc.assert(
    fc.property(fc.array(sourceEvent, { maxLength: 30 }), (events) => {
      const tenure = { epoch: 1, from: null, lease: null };
      let state: SourceToken = { kind: 'holding', tenure };
      let disk: unknown = 'self';
      for (const event of events) {
        const step = stepSource(state, event);
        if (step.kind !== 'moved') continue;
        expect(allows(SOURCE_TRANSITIONS, state.kind, step.state.kind)).toBe(true);
        if (state.kind === 'giving' && event.kind === 'journalled') disk = 'given';
        if (state.kind === 'taking-back' && event.kind === 'journalled') disk = 'self';
        for (const effect of step.effects) {
          if (effect.kind === 'resume') expect([disk, mayRun(step.state)]).toEqual(['self', true]);
          if (effect.kind !== 'send' || effect.message.kind !== 'give') continue;
          expect([disk, step.state.kind]).toEqual(['given', 'given']);
        }
        state = step.state;
      }
    }),
    { numRuns: 2000 },
  );
});

test('a target keeps to its table, and answers and runs only what it has journalled', () => {
  const [reserved] = moves;
  if (reserved === undefined) throw new Error('no move');
  fc.assert(
    fc.property(fc.array(targetEvent, { maxLength: 30 }), (events) => {
      let state: TargetToken = beginReservation(reserved).state;
      for (const event of events) {
        const step = stepTarget(state, event);
        if (step.kind !== 'moved') continue;
        expect(allows(TARGET_TRANSITIONS, state.kind, step.state.kind)).toBe(true);
        const kinds = step.effects.map((effect) =>
          effect.kind === 'send' ? effect.message.kind : effect.kind,
        );
        expect(kinds).not.toContain('resume');
        if (kinds.includes('run')) {
          expect([state.kind, event.kind]).toEqual(['receiving', 'journalled']);
        }
        if (kinds.includes('received')) {
          expect([state.kind, event.kind]).toEqual(['starting', 'ran']);
        }
        if (kinds.includes('refused')) expect(step.state.kind).toBe('refused');
        state = step.state;
      }
    }),
    { numRuns: 2000 },
  );
});

test('an epoch is offered once', () => {
  const tenure = { epoch: 2, from: null, lease: null };
  const [used, next] = moves;
  if (used === undefined || next === undefined) throw new Error('no moves');
  const holding = { kind: 'holding', tenure } as const;
  expect(stepSource(holding, { kind: 'freeze', move: used })).toMatchObject({ kind: 'refused' });
  expect(stepSource(holding, { kind: 'freeze', move: next })).toMatchObject({ kind: 'moved' });
});

test('after the hand-over an abort is refused', () => {
  const [move] = moves;
  if (move === undefined) throw new Error('no move');
  const given = { kind: 'given', move, lease: null } as const;
  expect(stepSource(given, { kind: 'abort' })).toMatchObject({ kind: 'refused' });
});
