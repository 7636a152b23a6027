import { expect, it } from 'vitest';
import { MAX_ASKS_PER_HOST } from '../protocol/guest-api.ts';
import { VmId } from '../protocol/ids.ts';
import type { GuestAskFrame } from '../protocol/messages.ts';
import { PendingAsks } from './pending-asks.ts';

const VM = VmId.parse('vm-1');
const LOOK = { kind: 'look' } as const;
const NO = { kind: 'refused', why: 'No.', retry: 'never' } as const;

it('gives each question its own answer', async () => {
  const sent: GuestAskFrame[] = [];
  const asks = new PendingAsks((frame) => void sent.push(frame));
  const answers = [asks.ask(VM, LOOK), asks.ask(VM, LOOK)];
  const [first, second] = sent;
  asks.settle({ type: 'guest-answer', askId: second?.askId ?? '', answer: { ...NO, why: '2' } });
  asks.settle({ type: 'guest-answer', askId: first?.askId ?? '', answer: { ...NO, why: '1' } });
  asks.settle({ type: 'guest-answer', askId: first?.askId ?? '', answer: NO });
  expect(await Promise.all(answers)).toMatchObject([{ why: '1' }, { why: '2' }]);
});

it('has what nobody answers asked again: late, cut off, too many', async () => {
  const silent = new PendingAsks(() => undefined, 1);
  expect(await silent.ask(VM, LOOK)).toMatchObject({ kind: 'refused', retry: 'later' });
  const asks = new PendingAsks(() => undefined);
  const waiting = Array.from({ length: MAX_ASKS_PER_HOST }, () => asks.ask(VM, LOOK));
  expect(await asks.ask(VM, LOOK)).toMatchObject({ why: expect.stringContaining('Too many') });
  asks.giveUp('Cut off.');
  for (const answer of await Promise.all(waiting))
    expect(answer).toEqual({ kind: 'refused', why: 'Cut off.', retry: 'later' });
});
