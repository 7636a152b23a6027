/** Two hosts lose each other while a real VM's token is between them, and the control plane decides. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TokenArbiter, type Told } from '../../../app/authority/token-arbiter.ts';
import { findDoubts } from '../../../app/reconciler/find-doubts.ts';
import { readSlots } from '../../../host-agent/journal/journal-slots.ts';
import { TokenEntry } from '../../../host-agent/journal/token.ts';
import type { HostId, VmId } from '../../../host-agent/protocol/ids.ts';
import { findQemu } from '../../../host-agent/vm/launch.ts';
import { vmFiles } from '../../../host-agent/vm/vm-files.ts';
import { until } from '../host-agent/agent-fleet.ts';
import { logger } from '../vm/test-vm.ts';
import { FILL, HASH, inGuest } from './in-guest.ts';
import { MovingAgents } from './moving-agents.ts';
import { SlowCable } from './slow-cable.ts';

const way = { from: 'one', to: 'two' };

let agents: MovingAgents;
beforeAll(async () => {
  agents = await MovingAgents.start(['one', 'two']);
});
afterAll(async () => {
  await agents?.[Symbol.asyncDispose]();
});

function journalOf(host: string, vmId: VmId): string {
  return join(agents.control.agentDir(host), 'journal', `${vmId}.json`);
}

/** Undefined while there is none. */
function holderAt(host: string, vmId: VmId) {
  const path = journalOf(host, vmId);
  const text = existsSync(path) ? readSlots(readFileSync(path))?.text : undefined;
  return text === undefined ? undefined : TokenEntry.parse(JSON.parse(text)).holder.kind;
}

/** A VM of which the source has journalled that it is given, and the target hears nothing more. */
async function cutWhileGiven() {
  const cable = new SlowCable();
  const vmId = await agents.startVm('one');
  const hashes = await inGuest(agents, { vmId, host: 'one', script: FILL });
  const through = (peer: Parameters<SlowCable['lay']>[1]) => cable.lay(agents.address, peer);
  await agents.beginMove(vmId, { ...way, through });
  await until('the token to be given', () => holderAt('one', vmId) === 'given' || undefined);
  cable.cut();
  expect(holderAt('two', vmId)).toBe('reserved');
  return { vmId, hashes, [Symbol.asyncDispose]: () => cable[Symbol.asyncDispose]() };
}

/** What the reconciler does about doubts, until nothing is open; answers what was decided. */
async function arbitrate(vmId: VmId, gone: ReadonlySet<HostId> = new Set()) {
  const arbiter = new TokenArbiter({
    request: (hostId, request) => agents.control.fleet.request(hostId, request),
    isGone: async (hostId) => gone.has(hostId),
    lease: () => Promise.reject(new Error('this VM has no lease')),
    logger,
  });
  const decided: Told[] = [];
  await until('nothing to be open any more', async () => {
    const hosts = agents.control.fleet.hosts();
    for (const doubt of findDoubts(hosts, [], Date.now())) {
      const result = await arbiter.settle(doubt.vmId, doubt.hostId);
      if (result.kind === 'done' && result.told !== undefined) decided.push(result.told);
    }
    const isOpen = hosts.some(
      ({ state, report }) =>
        state === 'connected' && report?.tokens?.some((token) => token.vmId === vmId),
    );
    return (decided.length > 0 && !isOpen) || undefined;
  });
  return decided.map(({ verdict }) =>
    verdict.kind === 'relay' ? verdict.message.kind : verdict.kind,
  );
}

test('the target gets what the source gave, and the source lets go', async () => {
  await using given = await cutWhileGiven();
  const { vmId, hashes } = given;
  const decided = await arbitrate(vmId);
  expect(decided).toEqual(expect.arrayContaining(['give', 'received']));
  expect(decided).not.toContain('regrant');
  const moved = await agents.vm('two', vmId, ({ tracking }) => tracking !== undefined);
  expect(moved).toMatchObject({ epoch: 2, phase: 'idle' });
  expect(existsSync(journalOf('one', vmId))).toBe(false);
  const source = vmFiles(join(agents.control.agentDir('one'), 'vms', vmId));
  expect(await findQemu(source.qmpSocket)).toBeUndefined();
  expect(await inGuest(agents, { vmId, host: 'two', script: HASH })).toBe(hashes);
});

test('the source gets it back when its target is no more', async () => {
  await using given = await cutWhileGiven();
  const { vmId, hashes } = given;
  const { id } = await agents.host('two');
  await agents.killAgent('two');
  const target = vmFiles(join(agents.control.agentDir('two'), 'vms', vmId));
  const qemu = await findQemu(target.qmpSocket);
  if (qemu === undefined) throw new Error('the target has no QEMU');
  process.kill(qemu.pid, 'SIGKILL');
  expect(await arbitrate(vmId, new Set([id]))).toEqual(['regrant']);
  const back = await agents.vm('one', vmId, ({ epoch }) => epoch === 3);
  expect(back.phase).toBe('idle');
  expect(holderAt('one', vmId)).toBe('self');
  expect(await inGuest(agents, { vmId, host: 'one', script: HASH })).toBe(hashes);
});
