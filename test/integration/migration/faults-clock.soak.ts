/** A clock that jumps in the middle of a move: an agent's own, or the guest's. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FaultyMove, STEPS, type Step } from './faulty-move.ts';
import { expectIntact } from './guest-program.ts';
import { inGuest } from './in-guest.ts';
import { MovingAgents } from './moving-agents.ts';

const DAY_MS = 24 * 3_600_000;
const NEAR_MS = 60_000;

let agents: MovingAgents;
beforeAll(async () => {
  agents = await MovingAgents.start(['one', 'two'], { jumpingClocks: true });
});
afterAll(async () => {
  await agents?.[Symbol.asyncDispose]();
});

const AHEAD = [
  { who: 'source', host: 'one', way: 'forward', byMs: DAY_MS },
  { who: 'target', host: 'two', way: 'forward', byMs: DAY_MS },
] as const;
const BACK = { who: 'source', host: 'one', way: 'back', byMs: -DAY_MS } as const;
const CASES = [
  ...STEPS.flatMap((step) => AHEAD.map((jump) => ({ step, ...jump }))),
  ...(['precopy', 'given'] as const).map((step) => ({ step, ...BACK })),
];
const IS_GIVEN: readonly Step[] = ['given', 'received', 'committed'];

test.each(CASES)('$step: the clock of the $who jumps a day $way', async ({ step, host, byMs }) => {
  await using move = await FaultyMove.ofWriter(agents, { from: 'one', to: 'two' });
  const { vmId } = move;
  await move.holdAt(step);
  await agents.setClock(host, byMs);
  await move.release();
  const holder = await move.settled();
  // A deadline that is over by that clock may end it, and then the source says so.
  const said = IS_GIVEN.includes(step) ? 'it was done' : await move.givenUp();
  expect(holder).toBe(said === 'it was done' ? 'two' : 'one');
  await agents.setClock(host, 0);
  await expectIntact(agents, { vmId, host: holder ?? '' });
  await agents.moveOnAndStop(vmId, holder ?? '');
});

test.each(['ahead', 'behind'])(
  "the guest's own clock is a day %s: it is right where it moves to",
  async (where) => {
    const vmId = await agents.startVm('one');
    const script = `date --utc --set=@$(( $(date +%s) ${where === 'ahead' ? '+' : '-'} 86400 ))`;
    await inGuest(agents, { vmId, host: 'one', script });
    await agents.move(vmId, { from: 'one', to: 'two' });
    const said = await inGuest(agents, { vmId, host: 'two', script: 'date +%s' });
    expect(Math.abs(Number(said) * 1_000 - Date.now())).toBeLessThan(NEAR_MS);
    await agents.stopVm('two', vmId);
  },
);
