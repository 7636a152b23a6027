/** The bitmap, the pulses and the export with a QEMU that has a disk and no guest. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { CLUSTER_BYTES } from '../../../host-agent/migration/disk/cluster.ts';
import { DiskTrackingError } from '../../../host-agent/migration/disk/disk-errors.ts';
import { DiskImage } from '../../../host-agent/migration/disk/disk-image.ts';
import {
  attachDiskTracking,
  markDiskWrites,
  pulseDisk,
} from '../../../host-agent/migration/disk/disk-tracking.ts';
import { NbdServer } from '../../../host-agent/migration/disk/nbd-server.ts';
import { connectQmp, type QmpClient } from '../../../host-agent/vm/qmp/qmp-client.ts';
import { makeDiskFolder } from '../../fixtures/disk-folder.ts';

/** The last cluster is shorter. */
const SIZE_BYTES = 64 * CLUSTER_BYTES + 1536;
const LIMIT_MS = 20_000;
const node = 'overlay';

let dir: string;
let cleanup: AsyncDisposableStack;
let qmp: QmpClient;
let image: DiskImage;
let server: NbdServer;

beforeEach(async () => {
  cleanup = new AsyncDisposableStack();
  dir = await makeDiskFolder('architect-disk');
  cleanup.defer(() => rm(dir, { recursive: true, force: true }));
  qmp = await startQemu();
  image = await DiskImage.create({ path: join(dir, 'image'), sizeBytes: SIZE_BYTES });
  cleanup.defer(() => image.close());
  server = await NbdServer.listen({ socketPath: join(dir, 'export'), image });
  cleanup.defer(() => server.close());
});
afterEach(async () => {
  await cleanup.disposeAsync();
});

async function startQemu(): Promise<QmpClient> {
  const overlay = join(dir, 'overlay.qcow2');
  await execa('qemu-img', ['create', '-q', '-f', 'qcow2', overlay, String(SIZE_BYTES)]);
  const blockdev = {
    driver: 'qcow2',
    'node-name': node,
    discard: 'unmap',
    file: { driver: 'file', filename: overlay },
  };
  const args = [
    ...['-machine', 'none', '-nodefaults', '-display', 'none', '-S'],
    ...['-blockdev', JSON.stringify(blockdev)],
    ...['-qmp', `unix:${join(dir, 'qmp')},server=on,wait=off`],
  ];
  const qemu = spawn('qemu-system-x86_64', args, { stdio: 'ignore' });
  cleanup.defer(async () => {
    const gone = once(qemu, 'exit');
    qemu.kill('SIGKILL');
    await gone;
  });
  return connectQmp(join(dir, 'qmp'), AbortSignal.timeout(LIMIT_MS));
}

/** As a guest would: `write -P 1 0 64k`, `discard 0 64k` (qemu-io). */
async function act(...commands: readonly string[]): Promise<void> {
  for (const command of commands) {
    const args = { 'command-line': `qemu-io ${node} "${command}"` };
    const answer = z.string().refine((text) => !text.includes('rror'));
    await qmp.call({ command: 'human-monitor-command', arguments: args, answer });
  }
}

async function attach(lacks: 'marked' | 'overlay'): Promise<void> {
  await attachDiskTracking(qmp, { node, exportSocket: server.socketPath, lacks });
}

async function expectSame(): Promise<void> {
  const copy = join(dir, 'copy.raw');
  const source = `json:${JSON.stringify({ driver: 'qcow2', file: { driver: 'file', filename: join(dir, 'overlay.qcow2') } })}`;
  await act('flush');
  await execa('qemu-img', ['convert', '-U', '-O', 'raw', source, copy]);
  const wanted = await readFile(copy);
  for (let cluster = 0; cluster < image.clusters; cluster += 1) {
    const at = cluster * CLUSTER_BYTES;
    const bytes = wanted.subarray(at, at + CLUSTER_BYTES);
    if (image.stateOf(cluster) === 'base') expect(bytes.every((byte) => byte === 0)).toBe(true);
    else expect((await image.read(cluster)).equals(bytes), `cluster ${cluster}`).toBe(true);
  }
}

test('pulses bring what changed, and only that, to the last byte of the disk', async () => {
  await markDiskWrites(qmp, node);
  await attach('marked');
  expect((await pulseDisk(qmp, { node })).bytes).toBe(0);
  await act('write -P 1 0 200k', `write -P 2 ${64 * CLUSTER_BYTES} 1536`);
  expect((await pulseDisk(qmp, { node })).bytes).toBe(5 * CLUSTER_BYTES);
  await expectSame();
  await act('write -z 64k 64k', 'discard 128k 64k', 'write -P 3 1M 512');
  expect((await pulseDisk(qmp, { node })).bytes).toBe(3 * CLUSTER_BYTES);
  await expectSame();
  expect([1, 2, 3, 16, 64].map((cluster) => image.stateOf(cluster)).join(' ')).toBe(
    'zero zero own own own',
  );
});

test('a disk whose image breaks keeps its marks, and the next pulse brings them', async () => {
  await markDiskWrites(qmp, node);
  await attach('marked');
  await act('write -P 1 0 4M');
  await server.close();
  await expect(pulseDisk(qmp, { node })).rejects.toThrow(DiskTrackingError);
  server = await NbdServer.listen({ socketPath: server.socketPath, image });
  await attach('marked');
  await act('write -P 2 64k 64k');
  expect((await pulseDisk(qmp, { node })).bytes).toBe(64 * CLUSTER_BYTES);
  await expectSame();
});

test('a pulse past its limit is cancelled, and the next one brings the rest', async () => {
  await markDiskWrites(qmp, node);
  await attach('marked');
  await act('write -P 1 0 4M');
  const tired = pulseDisk(qmp, { node, limitMs: 0 });
  await tired.catch((error) => expect(error).toBeInstanceOf(DiskTrackingError));
  await pulseDisk(qmp, { node });
  await expectSame();
});

test('an agent that knows nothing copies the whole overlay, whatever the bitmap says', async () => {
  await act('write -P 1 0 1M', 'write -z 1M 64k');
  await expect(attach('marked')).rejects.toThrow(DiskTrackingError);
  await attach('overlay');
  await expectSame();
  expect(image.stateOf(16)).toBe('zero');
  await act('write -P 2 2M 64k');
  await attach('overlay');
  expect((await pulseDisk(qmp, { node })).bytes).toBe(0);
  await expectSame();
});

test('without its QEMU a pulse ends with an error', async () => {
  await markDiskWrites(qmp, node);
  await attach('marked');
  await act('write -P 1 0 4M');
  const pulse = pulseDisk(qmp, { node });
  qmp.close();
  await expect(pulse).rejects.toThrow(/QEMU|QMP|connection/);
});
