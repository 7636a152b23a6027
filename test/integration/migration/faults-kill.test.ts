/** Each process of a move is killed at each of its steps. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { killCases } from './fault-cases.ts';
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

test.each(killCases())('$step: $victim dies, $survivor has the VM', async (fault) => {
  const { step, victim, survivor } = fault;
  await using move = await FaultyMove.ofWriter(agents, { from: 'one', to: 'two' });
  const { vmId } = move;
  await move.holdAt(step);
  if (step === 'received') await move.expectSame();
  await move.kill(victim);
  // Else the token may come before its target knows that it has nothing to run.
  if (step === 'given' && victim === 'target QEMU') await move.refused();
  await move.release();
  const holder = await move.settled();
  expect(holder).toBe({ source: 'one', target: 'two', nobody: undefined }[survivor]);
  if (holder === undefined) return await agents.expectEnd(vmId);
  await expectIntact(agents, { vmId, host: holder });
  await agents.moveOnAndStop(vmId, holder);
});
