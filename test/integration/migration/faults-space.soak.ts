/** The target runs out of disk or of memory: the source runs on, and hears why. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../host-agent/agent-fleet.ts';
import { FaultyMove } from './faulty-move.ts';
import { MovingAgents } from './moving-agents.ts';

/** A host with less is not taken; it has that until its agent has counted it. */
const OFFERED_MIB = 16 * 1024;
const DISK_MIB = 64;
const MIB = 1024 * 1024;

let agents: MovingAgents;
let filler: string;

beforeAll(async () => {
  agents = await MovingAgents.start(['one', 'two'], {
    prepare: async (control) => {
      const dir = control.agentDir('two');
      await mkdir(dir, { recursive: true });
      await execa('mount', ['-t', 'tmpfs', '-o', `size=${OFFERED_MIB}m`, 'tmpfs', dir]);
      filler = join(dir, 'filler');
    },
  });
  const dir = agents.control.agentDir('two');
  await execa('mount', ['-o', `remount,size=${DISK_MIB}m`, dir]);
});
afterAll(async () => {
  await agents?.[Symbol.asyncDispose]();
});

async function fillDisk(): Promise<void> {
  await writeFile(filler, Buffer.alloc(DISK_MIB * MIB)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOSPC') throw error;
  });
}

test('a disk that is full before the move: the host does not take it', async () => {
  const vmId = await agents.startVm('one');
  const move = new FaultyMove(agents, { vmId, from: 'one', to: 'two' });
  await fillDisk();
  try {
    await expect(move.begin()).rejects.toThrow('cannot journal');
  } finally {
    await rm(filler, { force: true });
  }
  expect(await move.settled()).toBe('one');
  await agents.moveOnAndStop(vmId, 'one');
});

test('a disk that fills as the move begins', async () => {
  const vmId = await agents.startVm('one');
  const move = new FaultyMove(agents, { vmId, from: 'one', to: 'two' });
  try {
    await move.begin({ dial: fillDisk });
    expect(await move.givenUp()).not.toBe('it was done');
  } finally {
    await rm(filler, { force: true });
  }
  expect(await move.settled()).toBe('one');
  await agents.moveOnAndStop(vmId, 'one');
});

test('a disk that fills in the middle of the copying', async () => {
  const vmId = await agents.startVm('one');
  const move = new FaultyMove(agents, { vmId, from: 'one', to: 'two' });
  try {
    await move.holdAt('precopy');
    await fillDisk();
    await move.release();
    // Whether it still needs the room is the guest's affair: it has written little to its disk.
    await move.givenUp();
  } finally {
    await rm(filler, { force: true });
    await move.release();
  }
  const holder = await move.settled();
  expect(holder).toBeDefined();
  await agents.moveOnAndStop(vmId, holder ?? '');
});

test('memory that is used up while the guest arrives', async () => {
  const vmId = await agents.startVm('one');
  const move = new FaultyMove(agents, { vmId, from: 'one', to: 'two' });
  try {
    await move.holdAt('precopy');
    const qemu = await until('the target to have a QEMU', () => move.traces.qemu('two'));
    await limitMemory(qemu.pid, 8 * MIB);
    await move.release();
    expect(await move.givenUp()).not.toBe('it was done');
  } finally {
    await move.release();
  }
  expect(await move.settled()).toBe('one');
  await agents.moveOnAndStop(vmId, 'one');
});

/** Little more than it has: the kernel ends it when it takes more. */
async function limitMemory(pid: number, moreBytes: number): Promise<void> {
  const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8');
  const [, group = ''] = /:memory:(.*)/.exec(groups) ?? /^0::(.*)/m.exec(groups) ?? [];
  const isV1 = /:memory:/.test(groups);
  const dir = isV1 ? `/sys/fs/cgroup/memory${group}` : `/sys/fs/cgroup${group}`;
  const names = isV1
    ? { usage: 'memory.usage_in_bytes', limit: 'memory.limit_in_bytes' }
    : { usage: 'memory.current', limit: 'memory.max' };
  const usedBytes = Number(await readFile(join(dir, names.usage), 'utf8'));
  await writeFile(join(dir, names.limit), String(usedBytes + moreBytes));
}
