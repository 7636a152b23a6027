/** A guest that writes faster than its link takes it is slowed down, and moves all the same. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LEAST_CPU_SHARE } from '../../../host-agent/protocol/migration-messages.ts';
import { until } from '../host-agent/agent-fleet.ts';
import { FaultyMove } from './faulty-move.ts';
import { FAST_WRITER, inBackground } from './guest-program.ts';
import { inGuest } from './in-guest.ts';
import { MovingAgents } from './moving-agents.ts';
import { cpuQuotaUs } from './vm-traces.ts';

const BITS_PER_SECOND = 80_000_000;
const WHOLE_QUOTA_US = 125_000;

let agents: MovingAgents;
beforeAll(async () => {
  agents = await MovingAgents.start(['one', 'two']);
});
afterAll(async () => {
  await agents?.[Symbol.asyncDispose]();
});

async function startWriter(): Promise<FaultyMove> {
  const vmId = await agents.startVm('one');
  await inGuest(agents, { vmId, host: 'one', script: inBackground(FAST_WRITER) });
  return new FaultyMove(agents, { vmId, from: 'one', to: 'two' });
}

async function whenSlowed(move: FaultyMove): Promise<number> {
  return await until('the guest to be slowed down', async () => {
    const qemu = await move.traces.qemu('one');
    const quotaUs = qemu === undefined ? undefined : cpuQuotaUs(qemu.pid);
    return quotaUs !== undefined && quotaUs < WHOLE_QUOTA_US ? quotaUs : undefined;
  });
}

test('it moves, and has all of its CPU where it arrives', async () => {
  const move = await startWriter();
  await move.link.slow(BITS_PER_SECOND);
  try {
    await move.begin({ deadlineMs: Date.now() + 120_000 });
    expect(await whenSlowed(move)).toBeGreaterThanOrEqual(WHOLE_QUOTA_US * LEAST_CPU_SHARE);
    expect(await move.settled()).toBe('two');
  } finally {
    await move.release();
  }
  const qemu = await move.traces.qemu('two');
  expect(cpuQuotaUs(qemu?.pid ?? 0)).toBe(WHOLE_QUOTA_US);
  await agents.stopVm('two', move.vmId);
});

test('it has all of its CPU again when the move is given up', async () => {
  const move = await startWriter();
  const { vmId } = move;
  await move.link.slow(BITS_PER_SECOND);
  try {
    await move.begin({ deadlineMs: Date.now() + 120_000 });
    await whenSlowed(move);
    const { migrationId } = move;
    await agents.request('one', { kind: 'abort-migration', vmId, migrationId, why: 'enough' });
    expect(await move.givenUp()).toBe('enough');
  } finally {
    await move.release();
  }
  expect(await move.settled()).toBe('one');
  const qemu = await move.traces.qemu('one');
  expect(cpuQuotaUs(qemu?.pid ?? 0)).toBe(WHOLE_QUOTA_US);
  await agents.stopVm('one', vmId);
});

test('it begins as slow as it is told to, and no agent that dies leaves it so', async () => {
  const vmId = await agents.startVm('one');
  const move = new FaultyMove(agents, { vmId, from: 'one', to: 'two' });
  const quota = async () => cpuQuotaUs((await move.traces.qemu('one'))?.pid ?? 0);
  try {
    await move.holdAt('precopy', { cpuShare: 0.5 });
    expect(await quota()).toBe(WHOLE_QUOTA_US / 2);
    await move.kill('source agent');
  } finally {
    await move.release();
  }
  expect(await move.settled()).toBe('one');
  await until('its CPU to be whole', async () => (await quota()) === WHOLE_QUOTA_US);
  await agents.stopVm('one', vmId);
});
