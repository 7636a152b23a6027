import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { VmData } from './vm-data.ts';

const MIB = 1024 * 1024;
const PAGES = 256;

let dir: string;
const workers: VmData[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'vm-data-'));
});
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.end()));
  await rm(dir, { recursive: true, force: true });
});

async function openWorker(): Promise<VmData> {
  const worker = new VmData();
  workers.push(worker);
  const base = { sizeBytes: MIB, segments: [undefined], filled: new SharedArrayBuffer(PAGES) };
  const diskImage = join(dir, `disk-${workers.length}.image`);
  await worker.call('open', { vmId: 'vm-1', base, diskImage, store: undefined });
  return worker;
}

async function listen(worker: VmData): Promise<void> {
  const user = process.getuid?.() ?? 0;
  const sockets = { memorySocket: join(dir, 'memory.sock'), diskSocket: join(dir, 'disk.sock') };
  await worker.call('listen', { ...sockets, diskBytes: MIB, user });
}

/** Throws when nobody listens there. */
async function greet(socket: string): Promise<void> {
  const client = connect(join(dir, socket));
  await once(client, 'connect');
  client.destroy();
}

test('a worker that let go ends without taking anything from the one that came after it', async () => {
  const [before, after] = [await openWorker(), await openWorker()];
  await listen(before);
  await before.call('untrack');
  await listen(after);
  await before.end();
  await greet('disk.sock');
  await greet('memory.sock');
});

test('a worker listens anew each time that tracking begins', async () => {
  const worker = await openWorker();
  await listen(worker);
  await rm(join(dir, 'disk.sock'));
  await worker.call('untrack');
  await expect(greet('disk.sock')).rejects.toThrow('ENOENT');
  await listen(worker);
  await greet('disk.sock');
  await greet('memory.sock');
});
