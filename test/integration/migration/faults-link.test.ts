/** The link between source and target is cut, or goes silent, at each step of a move. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { linkCases } from './fault-cases.ts';
import { FaultyMove } from './faulty-move.ts';
import { expectIntact } from './guest-program.ts';
import { MovingAgents } from './moving-agents.ts';

let agents: MovingAgents;
beforeAll(async () => {
  agents = await MovingAgents.start(['one', 'two']);
});
afterAll(async () => {
  await agents?.[Symbol.asyncDispose]();
});

test.each(linkCases())('$step: the link is $fault, $survivor has the VM', async (faulty) => {
  const { fault, step, survivor } = faulty;
  await using move = await FaultyMove.ofWriter(agents, { from: 'one', to: 'two' });
  const { vmId } = move;
  await move.holdAt(step);
  await (fault === 'cut' ? move.link.cut() : move.link.silence());
  move.thaw();
  const holder = survivor === 'source' ? 'one' : 'two';
  expect(await move.settled()).toBe(holder);
  await move.release();
  await expectIntact(agents, { vmId, host: holder });
  await agents.moveOnAndStop(vmId, holder);
});
