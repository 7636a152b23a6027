/** A VM that hops from host to host and back keeps what it has in memory and on its disk. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { churn, expectIntact, inBackground, runInGuest } from './guest-program.ts';
import { MovingAgents } from './moving-agents.ts';

/** `npm run soak -- --hops` makes 50 of them. */
const HOPS = Number(process.env.ARCHITECT_TEST_HOPS ?? 5);
const HOP_LIMIT_MS = 30_000;
const BUSY = { everyMs: 10, blocks: 8 };

let agents: MovingAgents;
beforeAll(async () => {
  agents = await MovingAgents.start(['one', 'two']);
});
afterAll(async () => {
  await agents?.[Symbol.asyncDispose]();
});

test(`${HOPS} hops under a guest that writes`, {
  timeout: 120_000 + HOPS * HOP_LIMIT_MS,
}, async () => {
  const vmId = await agents.startVm('one');
  await runInGuest(agents, { vmId, host: 'one', script: inBackground(churn(BUSY)) });
  let host = 'one';
  for (let hop = 0; hop < HOPS; hop += 1) {
    const to = host === 'one' ? 'two' : 'one';
    await agents.move(vmId, { from: host, to });
    host = to;
    await agents.vm(host, vmId, ({ tracking }) => tracking !== undefined);
  }
  const { rounds } = await expectIntact(agents, { vmId, host });
  expect(rounds).toBeGreaterThan(HOPS);
  await agents.stopVm(host, vmId);
});
