/** What the control plane may say, or not, in the middle of a move, and what clocks may do to one. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../host-agent/agent-fleet.ts';
import { FaultyMove, STEPS } from './faulty-move.ts';
import { MovingAgents } from './moving-agents.ts';

const YEAR_MS = 365 * 24 * 3_600_000;
const WHY = 'the test gives it up';

let agents: MovingAgents;
beforeAll(async () => {
  agents = await MovingAgents.start(['one', 'two', 'three']);
});
afterAll(async () => {
  await agents?.[Symbol.asyncDispose]();
});

async function begin(): Promise<FaultyMove> {
  const vmId = await agents.startVm('one');
  return new FaultyMove(agents, { vmId, from: 'one', to: 'two' });
}

/** A stopped agent reads what it is told when it goes on, so a move may be faster. */
async function expectAsReported(move: FaultyMove, { isSure }: { readonly isSure: boolean }) {
  // A word that was lost is the control plane's to find again.
  const survivor = await move.settled();
  const said = await move.givenUp();
  if (isSure) expect(said).toBe(WHY);
  expect(survivor).toBe(said === 'it was done' ? 'two' : 'one');
  await agents.moveOnAndStop(move.vmId, survivor ?? '');
}

test.each(STEPS)('given up at the source while %s', async (step) => {
  await using move = await begin();
  await move.holdAt(step);
  const { vmId, migrationId } = move;
  const asked = agents.request('one', { kind: 'abort-migration', vmId, migrationId, why: WHY });
  await move.release();
  await asked;
  await expectAsReported(move, { isSure: ['reserving', 'precopy', 'switchover'].includes(step) });
});

test.each(STEPS)('given up at the target while %s', async (step) => {
  await using move = await begin();
  await move.holdAt(step);
  const { vmId, migrationId } = move;
  const asked = agents.request('two', { kind: 'abort-migration', vmId, migrationId, why: WHY });
  await move.release();
  await asked;
  await expectAsReported(move, { isSure: false });
});

test.each(STEPS)('the VM is stopped while %s', async (step) => {
  await using move = await begin();
  await move.holdAt(step);
  const { vmId } = move;
  const asked = agents.request('one', { kind: 'stop-vm', vmId, why: WHY });
  await move.release();
  await asked;
  const holder = await move.settled();
  // Once it is given, it is its new holder's to stop.
  if (['received', 'committed'].includes(step)) expect(holder).toBe('two');
  if (['reserving', 'precopy', 'switchover'].includes(step)) expect(holder).toBeUndefined();
  await agents.stopVm(holder ?? 'one', vmId);
});

test.each(STEPS)(
  'the control plane is gone, from %s on: the move ends without it',
  async (step) => {
    await using move = await begin();
    await move.holdAt(step);
    await agents.control.vanish();
    await move.release();
    await until('the source to have nothing of it', () => !move.traces.hasJournal('one'));
    await agents.control.listen();
    expect(await move.settled()).toBe('two');
    await agents.moveOnAndStop(move.vmId, 'two');
  },
);

test('a deadline that is over, as after a jump of the clock, moves nothing', async () => {
  await using move = await begin();
  await move.begin({ deadlineMs: Date.now() - YEAR_MS });
  expect(await move.givenUp()).toBe('The deadline of the move is over.');
  expect(await move.settled()).toBe('one');
  await agents.moveOnAndStop(move.vmId, 'one');
});

test('a deadline that a clock made endless ends nothing', async () => {
  await using move = await begin();
  await move.begin({ deadlineMs: Date.now() + 30 * YEAR_MS });
  expect(await move.givenUp()).toBe('it was done');
  expect(await move.settled()).toBe('two');
  await agents.stopVm('two', move.vmId);
});

test('a deadline that comes in the middle of the copying ends the move', async () => {
  await using move = await begin();
  await move.link.slow(4_000_000);
  await move.begin({ deadlineMs: Date.now() + 4_000 });
  expect(await move.givenUp()).toBe('The deadline of the move is over.');
  await move.release();
  expect(await move.settled()).toBe('one');
  await agents.moveOnAndStop(move.vmId, 'one');
});

test('of two moves at once only the first one happens', async () => {
  await using move = await begin();
  const other = new FaultyMove(agents, { vmId: move.vmId, from: 'one', to: 'three' });
  await move.holdAt('precopy');
  await expect(other.begin({ deadlineMs: Date.now() + 3_000 })).rejects.toThrow('moving already');
  await move.release();
  expect(await move.settled()).toBe('two');
  // Nobody came for the second one: it ends at its deadline.
  expect(await other.settled()).toBeUndefined();
  await agents.stopVm('two', move.vmId);
});
