import { expect, it } from 'vitest';
import type { GuestAsk } from '../../host-agent/protocol/guest-api.ts';
import { HostId } from '../../host-agent/protocol/ids.ts';
import { vmRecord } from '../../test/fixtures/records.ts';
import { judgeAsk, type Known } from './judge-ask.ts';

const VM = vmRecord();
const question = (ask: GuestAsk, hostId = VM.hostId) => ({
  ...{ hostId, cpuModel: 'Model T', vmId: VM.id, ask },
});
const known = (over: Partial<Known> = {}): Known => ({ vm: VM, moves: [], prices: [], ...over });
const LOOK = question({ kind: 'look' });
const HOLD = question({ kind: 'hold', held: true });
const RELEASE = question({ kind: 'hold', held: false });
const DONE = { phase: 'done' } as const;

it('tells class, CPU, price of its share, and moves', () => {
  const price = { fromMs: 0, usdPerHour: 0.4, onDemandUsdPerHour: null };
  const prices = [
    { ...price, usdPerHour: 9, vcpus: 8, memoryMib: 32_768 },
    { ...price, vcpus: 8, memoryMib: VM.class.memoryMib * 2 },
  ];
  const moves = [DONE, { phase: 'aborted' }, { phase: 'committed' }, { phase: 'lost' }] as const;
  expect(judgeAsk(LOOK, known({ prices, moves }))).toEqual({
    kind: 'answer',
    answer: {
      kind: 'ok',
      view: {
        class: '2cpu-4gb',
        cpuModel: 'Model T',
        pricePerHourUsd: 0.2,
        moves: 2,
        held: false,
        movesWhileHeld: 0,
      },
    },
  });
});

it('holds once, from the moves of then on, and lets go', () => {
  const moves = [DONE];
  expect(judgeAsk(HOLD, known({ moves }))).toEqual({ kind: 'change', held: { movesBefore: 1 } });
  const held = { ...VM, held: { movesBefore: 1 } };
  const answer = { kind: 'ok', view: { held: true, moves: 2, movesWhileHeld: 1 } };
  const after = known({ vm: held, moves: [DONE, DONE] });
  expect(judgeAsk(HOLD, after)).toMatchObject({ kind: 'answer', answer });
  expect(judgeAsk(RELEASE, after)).toEqual({ kind: 'change', held: null });
  expect(judgeAsk(RELEASE, known())).toMatchObject({ answer: { view: { held: false } } });
});

it('has a VM that is being moved ask again before it is held, not before it is let go', () => {
  const moves = [{ phase: 'precopy' }] as const;
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
