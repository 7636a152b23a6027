import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { POOL } from '../../test/fixtures/protocol.ts';
import { VmId } from '../protocol/ids.ts';
import { SLOT_BYTES, slotOffset } from './journal-slots.ts';
import { JournalStore } from './journal-store.ts';
import { startedHere, type VmJournal } from './token.ts';

const logger = pino({ level: 'silent' });
const vmId = VmId.parse('vm-1');
const size = { vcpus: 2, memoryMib: 1024, diskGib: 10, arch: 'x64' } as const;
let dir: string;
let store: JournalStore;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'journal-'));
  store = new JournalStore(dir);
  await store.open(logger);
});
afterEach(async () => {
  await store.remove(vmId);
  await rm(dir, { recursive: true });
});

function inEpoch(epoch: number): VmJournal {
  return startedHere({ vmId, class: size, pool: POOL, nowMs: 1, epoch });
}

async function readAnew(): Promise<readonly VmJournal[]> {
  return await new JournalStore(dir).open(logger);
}

test('an agent that starts anew reads what was written last, and goes on from there', async () => {
  for (const epoch of [1, 2, 3, 4]) {
    await store.write(inEpoch(epoch));
    expect(await readAnew()).toEqual([inEpoch(epoch)]);
  }
  const next = new JournalStore(dir);
  await next.write(inEpoch(5));
  await next.write(inEpoch(6));
  expect(await readAnew()).toEqual([inEpoch(6)]);
  await next.remove(vmId);
  expect(await readAnew()).toEqual([]);
});

test('writes at the same time are done in their order', async () => {
  await Promise.all([1, 2, 3, 4, 5].map((epoch) => store.write(inEpoch(epoch))));
  expect(await readAnew()).toEqual([inEpoch(5)]);
});

test('a write that was cut off leaves the one before it', async () => {
  for (const epoch of [1, 2, 3]) await store.write(inEpoch(epoch));
  const path = join(dir, 'journal', `${vmId}.json`);
  const file = await readFile(path);
  file.fill(0, slotOffset(3) + 200, slotOffset(3) + SLOT_BYTES);
  await writeFile(path, file);
  expect(await readAnew()).toEqual([inEpoch(2)]);
});

test('a journal that is too long for a slot is written all the same', async () => {
  await store.write(inEpoch(1));
  const long = { ...inEpoch(2), pool: { ...POOL, cpuModel: 'x'.repeat(SLOT_BYTES) } };
  await store.write(long);
  const text = await readFile(join(dir, 'journal', `${vmId}.json`), 'utf8');
  expect(JSON.parse(text)).toEqual(long);
  await store.write(inEpoch(3));
  expect(await readAnew()).toEqual([inEpoch(3)]);
});

test('a journal of an agent that knew no slots is read', async () => {
  await writeFile(join(dir, 'journal', `${vmId}.json`), JSON.stringify(inEpoch(7)));
  expect(await readAnew()).toEqual([inEpoch(7)]);
});

test('what is no journal is put aside', async () => {
  await writeFile(join(dir, 'journal', `${vmId}.json`), '{"format":2');
  expect(await readAnew()).toEqual([]);
  expect(await readdir(join(dir, 'journal'))).toEqual([`${vmId}.json.unreadable`]);
});
