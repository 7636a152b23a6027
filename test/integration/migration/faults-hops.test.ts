/** A VM that hops from host to host and back keeps what it has in memory and on its disk. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { VmId } from '../../../host-agent/protocol/ids.ts';
import { until } from '../host-agent/agent-fleet.ts';
import { churn, expectIntact, inBackground } from './guest-program.ts';
import { inGuest } from './in-guest.ts';
import { MovingAgents } from './moving-agents.ts';
import { VmTraces } from './vm-traces.ts';

/** `npm run soak -- --hops` makes 50 of them. */
const HOPS = Number(process.env.ARCHITECT_TEST_HOPS ?? 5);
const HOP_LIMIT_MS = 30_000;
const BUSY = { everyMs: 40, blocks: 4 };

let agents: MovingAgents;
beforeAll(async () => {
  agents = await MovingAgents.start(['one', 'two']);
});
afterAll(async () => {
  await agents?.[Symbol.asyncDispose]();
});

async function move(
  vmId: VmId,
  way: { readonly from: string; readonly to: string },
): Promise<void> {
  await agents.move(vmId, way);
  await agents.vm(way.to, vmId, ({ tracking }) => tracking !== undefined);
  const traces = new VmTraces(agents, vmId);
  await until(`${way.from} to be rid of it`, () => !traces.hasJournal(way.from));
}

test(`${HOPS} hops under a guest that writes`, {
  timeout: 120_000 + HOPS * HOP_LIMIT_MS,
}, async () => {
  const vmId = await agents.startVm('one');
  await inGuest(agents, { vmId, host: 'one', script: inBackground(churn(BUSY)) });
  let host = 'one';
  for (let hop = 0; hop < HOPS; hop += 1) {
    const to = host === 'one' ? 'two' : 'one';
    await move(vmId, { from: host, to });
    host = to;
  }
  const { rounds } = await expectIntact(agents, { vmId, host });
  expect(rounds).toBeGreaterThan(HOPS);
  await agents.stopVm(host, vmId);
});

test('one that comes back at once is tracked there, for good', async () => {
  const vmId = await agents.startVm('one');
  await move(vmId, { from: 'one', to: 'two' });
  await move(vmId, { from: 'two', to: 'one' });
  // What it had here before it left still has words to say, and then ends.
  const traces = new VmTraces(agents, vmId);
  await until('one export to be left', () => traces.exports('one') === 1);
  expect(traces.hasExport('one')).toBe(true);
  await agents.moveOnAndStop(vmId, 'one');
});
