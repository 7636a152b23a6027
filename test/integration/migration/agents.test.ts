/** Two real agents move a real VM between them. */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MovingAgents } from './moving-agents.ts';

let agents: MovingAgents;
beforeAll(async () => {
  agents = await MovingAgents.start(['one', 'two']);
});
afterAll(async () => {
  await agents?.[Symbol.asyncDispose]();
});

test('a VM moves to another host and back, and each host it left has nothing of it', async () => {
  const vmId = await agents.startVm('one');
  const first = await agents.vm('one', vmId, () => true);
  const { source } = await agents.move(vmId, { from: 'one', to: 'two' });
  expect(source.blackoutMs).toBeGreaterThan(0);
  const moved = await agents.vm('two', vmId, ({ tracking }) => tracking !== undefined);
  expect(moved).toMatchObject({ epoch: 2, phase: 'idle' });
  expect(moved.qemuPid).not.toBe(first.qemuPid);
  expect(existsSync(`/proc/${first.qemuPid}`)).toBe(false);
  await agents.move(vmId, { from: 'two', to: 'one' });
  expect(await agents.vm('one', vmId, () => true)).toMatchObject({ epoch: 3, phase: 'idle' });
});
