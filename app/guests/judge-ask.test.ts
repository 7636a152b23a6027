import { expect, it } from 'vitest';
import { refused } from '../../host-agent/protocol/errors.ts';
import type { GuestAsk } from '../../host-agent/protocol/guest-api.ts';
import { HostId } from '../../host-agent/protocol/ids.ts';
import { vmRecord } from '../../test/fixtures/records.ts';
import type { MovePhase } from '../records/migration-record.ts';
import { judgeAsk, type Known } from './judge-ask.ts';

const VM = vmRecord();
const question = (ask: GuestAsk, hostId = VM.hostId) => ({
  ...{ hostId, cpuModel: 'Model T', vmId: VM.id, ask },
});
const SIZE = { vcpus: 8, memoryMib: 32_768 };
const known = (over: Partial<Known> = {}): Known => ({
  ...{ vm: VM, moves: [], prices: [], cost: undefined, sizeFor: () => SIZE, nowMs: 7 },
  ...over,
});
const LOOK = question({ kind: 'look' });
const HOLD = question({ kind: 'hold', held: true });
const RELEASE = question({ kind: 'hold', held: false });
const at = <P extends MovePhase>(phase: P, blackoutMs: number | null = null) => ({
  ...{ phase, blackoutMs },
});
const DONE = at('done');

it('tells class, CPU, price of its share, and moves', () => {
  const price = { fromMs: 0, usdPerHour: 0.4, onDemandUsdPerHour: null, offer: null };
  const prices = [
    { ...price, usdPerHour: 9, vcpus: 8, memoryMib: 32_768 },
    { ...price, vcpus: 8, memoryMib: VM.class.memoryMib * 2 },
  ];
  const moves = [at('done', 107.4), at('aborted', 9), at('committed'), at('lost')];
  const cost = { usd: 0.01, onDemandUsd: 0.04 };
  expect(judgeAsk(LOOK, known({ prices, moves, cost }))).toEqual({
    kind: 'answer',
    answer: {
      kind: 'ok',
      view: {
        class: '2cpu-4gb',
        cpuModel: 'Model T',
        pricePerHourUsd: 0.2,
        moves: 2,
        blackoutsMs: [107.4, null],
        cost,
        held: false,
        movesWhileHeld: 0,
        resize: null,
      },
    },
  });
});

it('holds once, from the moves of then on, and lets go', () => {
  const moves = [DONE];
  expect(judgeAsk(HOLD, known({ moves }))).toEqual({
    kind: 'change',
    change: { held: { movesBefore: 1 } },
  });
  const held = { ...VM, held: { movesBefore: 1 } };
  const answer = { kind: 'ok', view: { held: true, moves: 2, movesWhileHeld: 1 } };
  const after = known({ vm: held, moves: [DONE, DONE] });
  expect(judgeAsk(HOLD, after)).toMatchObject({ kind: 'answer', answer });
  expect(judgeAsk(RELEASE, after)).toEqual({ kind: 'change', change: { held: null } });
  expect(judgeAsk(RELEASE, known())).toMatchObject({ answer: { view: { held: false } } });
});

it('has a VM that is being moved ask again before it is held, not before it is let go', () => {
  const moves = [at('precopy')];
  const later = { kind: 'answer', answer: { kind: 'refused', retry: 'later' } };
  expect(judgeAsk(HOLD, known({ moves }))).toMatchObject(later);
  expect(judgeAsk(LOOK, known({ moves }))).toMatchObject({ answer: { kind: 'ok' } });
  const held = { ...VM, held: { movesBefore: 0 } };
  expect(judgeAsk(RELEASE, known({ moves, vm: held }))).toMatchObject({ kind: 'change' });
});

it('believes the host that has the VM, and no other', () => {
  const later = { kind: 'answer', answer: { kind: 'refused', retry: 'later' } };
  const other = HostId.parse('host-2');
  for (const ask of [LOOK, HOLD, RELEASE].map((one) => one.ask)) {
    expect(judgeAsk(question(ask, other), known())).toMatchObject(later);
    expect(judgeAsk(question(ask), known({ vm: undefined }))).toMatchObject(later);
  }
});

const LARGE = question({ kind: 'resize', class: 'large' });
const WISH = { class: 'large', size: SIZE, state: 'wanted', why: null, askedAtMs: 7 } as const;

it('wants another size once, and again after a refusal', () => {
  const change = { kind: 'change', change: { resize: WISH } };
  const wished = (over: Partial<NonNullable<typeof VM.resize>>) =>
    known({ vm: { ...VM, resize: { ...WISH, ...over } }, nowMs: 7 });
  expect(judgeAsk(LARGE, known())).toEqual(change);
  expect(judgeAsk(LARGE, wished({ state: 'refused', why: 'No room.' }))).toEqual(change);
  expect(judgeAsk(LARGE, wished({ class: null }))).toEqual(change);
  const view = { resize: { class: 'large', state: 'wanted', why: null } };
  expect(judgeAsk(LARGE, wished({}))).toMatchObject({ answer: { kind: 'ok', view } });
  // It has been given back meanwhile.
  expect(judgeAsk(LARGE, wished({ state: 'done' }))).toEqual(change);
});

it('has nothing to do for the size that it has, with more memory or not', () => {
  const { vcpus, memoryMib } = VM.class;
  const sizeFor = () => ({ vcpus, memoryMib: memoryMib / 2 });
  expect(judgeAsk(LARGE, known({ sizeFor }))).toMatchObject({
    change: { resize: { state: 'done' } },
  });
});

it('refuses a VM that may go back to a checkpoint of the size it has', () => {
  const refusal = { answer: { kind: 'refused', retry: 'never' } };
  expect(judgeAsk(LARGE, known({ vm: { ...VM, rewindable: true } }))).toMatchObject(refusal);
});

it('refuses for good what the operator does not allow', () => {
  const sizeFor = () => refused('There is no class "large".');
  expect(judgeAsk(LARGE, known({ sizeFor }))).toEqual({
    kind: 'answer',
    answer: { kind: 'refused', why: 'There is no class "large".', retry: 'never' },
  });
});
