/** The chunk store is damaged or gone, before a move and in the middle of one: the VM moves anyway. */
import { globSync } from 'node:fs';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { VmId } from '../../../host-agent/protocol/ids.ts';
import { makeDiskFolder } from '../../fixtures/disk-folder.ts';
import { FaultyMove } from './faulty-move.ts';
import { MovingAgents } from './moving-agents.ts';

let dir: string;
let agents: MovingAgents;

beforeEach(async () => {
  dir = await makeDiskFolder('faulty-store');
});
afterEach(async () => {
  await agents?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

type Damage = (packs: readonly string[]) => Promise<unknown>;

const remove: Damage = (packs) => Promise.all(packs.map((path) => rm(path)));
const cutShort: Damage = (packs) => Promise.all(packs.map((path) => truncate(path, 5_000)));
const flip: Damage = (packs) =>
  Promise.all(
    packs.map(async (path) => {
      const bytes = await readFile(path);
      for (let at = 100; at < bytes.length; at += 1_000) bytes[at] = ~(bytes[at] ?? 0) & 0xff;
      await writeFile(path, bytes);
    }),
  );
const vanish: Damage = () => rm(dir, { recursive: true });

test.each([
  ['has lost its objects', remove],
  ['has objects cut short', cutShort],
  ['has objects with other bytes', flip],
  ['is gone', vanish],
] as const)('a store that %s before a move', async (_, damage) => {
  const vmId = await startSealed();
  await damage(packs());
  const { target } = await agents.move(vmId, { from: 'one', to: 'two' });
  expect(target.phase).toBe('done');
  await agents.moveOnAndStop(vmId, 'two');
});

test.each([
  ['loses its objects', remove],
  ['is gone', vanish],
] as const)('a store that %s in the middle of a move', async (_, damage) => {
  const vmId = await startSealed();
  const move = new FaultyMove(agents, { vmId, from: 'one', to: 'two' });
  try {
    await move.holdAt('precopy');
    await damage(packs());
  } finally {
    await move.release();
  }
  expect(await move.settled()).toBe('two');
  await agents.moveOnAndStop(vmId, 'two');
});

test('an intact store gives a part of the VM', async () => {
  const vmId = await startSealed();
  const { target } = await agents.move(vmId, { from: 'one', to: 'two' });
  expect(target.bytesFromStore).toBeGreaterThan(0);
  await agents.stopVm('two', vmId);
});

test('a store that was never there', async () => {
  const path = join(dir, 'a file');
  await writeFile(path, 'not a folder');
  agents = await MovingAgents.start(['one', 'two'], {
    store: async () => ({ kind: 'folder', path: join(path, 'store') }),
  });
  const vmId = await agents.startVm('one');
  await agents.move(vmId, { from: 'one', to: 'two' });
  await agents.stopVm('two', vmId);
});

/** Much of it is in the store, and nowhere else a move would look first. */
async function startSealed(): Promise<VmId> {
  agents = await MovingAgents.start(['one', 'two'], {
    store: async () => ({ kind: 'folder', path: dir }),
  });
  const vmId = await agents.startVm('one');
  await agents.vm('one', vmId, ({ tracking }) => (tracking?.bytesInStore ?? 0) > 0);
  return vmId;
}

function packs(): readonly string[] {
  return globSync(`${dir}/vms/*/packs/*`);
}
