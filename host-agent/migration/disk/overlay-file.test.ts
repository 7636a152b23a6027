/** Read back by its own tables, like a qcow2 reader; QEMU has its word in the integration tests. */
import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CLUSTER_BYTES, clustersOf } from './cluster.ts';
import { OverlayFileError } from './disk-errors.ts';
import { DiskImage } from './disk-image.ts';
import { OverlayFile } from './overlay-file.ts';
import { fillOverlay } from './overlay-fill.ts';

const MASK = 0x00ff_ffff_ffff_fe00n;
/** Two L2 tables, the second one short, and a short last cluster. */
const SIZE_BYTES = 8195 * CLUSTER_BYTES + 512;
const INTERESTING = [0, 1, 2, 8190, 8191, 8192, 8193];

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'overlay-file-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

type Seen = 'base' | 'zero' | Buffer;

/** The cluster by the file's own header and tables, and whether its refcount agrees. */
async function readQcow2(path: string, cluster: number): Promise<Seen> {
  await using file = await open(path, 'r');
  const at = async (position: number, length: number) =>
    (await file.read(Buffer.alloc(length), 0, length, position)).buffer;
  const pointer = async (position: number) => (await at(position, 8)).readBigUInt64BE();
  const header = await at(0, 104);
  const l1 = Number(header.readBigUInt64BE(40));
  const l2 = Number((await pointer(l1 + Math.floor(cluster / 8192) * 8)) & MASK);
  const entry = await pointer(l2 + (cluster % 8192) * 8);
  const data = Number(entry & MASK);
  if (data === 0) return entry === 0n ? 'base' : 'zero';
  const place = data / CLUSTER_BYTES;
  const block = await pointer(Number(header.readBigUInt64BE(48)) + Math.floor(place / 32768) * 8);
  const count = (await at(Number(block) + (place % 32768) * 2, 2)).readUInt16BE();
  expect(count).toBe(1);
  return at(data, CLUSTER_BYTES);
}

test('property: what is written last, in runs or alone, flushed at any time, is what is there', async () => {
  const step = fc.record({
    cluster: fc.constantFrom(...INTERESTING),
    fill: fc.nat({ max: 3 }),
    count: fc.integer({ min: 1, max: 2 }),
    flushes: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 10 }), async (steps) => {
      const path = join(dir, 'overlay');
      const overlay = await OverlayFile.create({ path, sizeBytes: SIZE_BYTES });
      const model = new Map<number, number>();
      for (const { cluster, fill, count, flushes } of steps) {
        if (fill === 0) overlay.zeroCluster(cluster);
        else await overlay.writeCluster(cluster, Buffer.alloc(count * CLUSTER_BYTES, fill));
        for (let at = 0; at < (fill === 0 ? 1 : count); at += 1) model.set(cluster + at, fill);
        if (flushes) await overlay.flush();
      }
      await overlay.finish();
      for (const cluster of INTERESTING) {
        const fill = model.get(cluster);
        const seen = await readQcow2(path, cluster);
        if (fill === undefined || fill === 0) expect(seen).toBe(fill === 0 ? 'zero' : 'base');
        else expect(seen).toEqual(Buffer.alloc(CLUSTER_BYTES, fill));
      }
    }),
    { numRuns: 30 },
  );
});

test('an image is copied in bounded steps, and again where it changed meanwhile', async () => {
  const image = await DiskImage.create({ path: join(dir, 'disk'), sizeBytes: SIZE_BYTES });
  const path = join(dir, 'overlay');
  const overlay = await OverlayFile.create({ path, sizeBytes: SIZE_BYTES });
  const changes = image.watch();
  await image.write(0, Buffer.alloc(4 * CLUSTER_BYTES, 1));
  await image.write(clustersOf(SIZE_BYTES) - 1, Buffer.alloc(512, 6));
  expect(await fillOverlay(overlay, { image, changes, limit: 3 })).toBe(3);
  await image.write(1, Buffer.alloc(CLUSTER_BYTES, 2));
  image.zero(2);
  expect(await fillOverlay(overlay, { image, changes, limit: 100 })).toBe(4);
  expect(await fillOverlay(overlay, { image, changes, limit: 100 })).toBe(0);
  await overlay.finish();
  await image.close();
  expect(await readQcow2(path, 0)).toEqual(Buffer.alloc(CLUSTER_BYTES, 1));
  expect(await readQcow2(path, 1)).toEqual(Buffer.alloc(CLUSTER_BYTES, 2));
  expect(await readQcow2(path, 2)).toBe('zero');
  expect(await readQcow2(path, 3)).toEqual(Buffer.alloc(CLUSTER_BYTES, 1));
  const tail = Buffer.concat([Buffer.alloc(512, 6), Buffer.alloc(CLUSTER_BYTES - 512)]);
  expect(await readQcow2(path, 8195)).toEqual(tail);
});

test("the file is its owner's, sparse, and has its full size from the start", async () => {
  const path = join(dir, 'overlay');
  const overlay = await OverlayFile.create({ path, sizeBytes: 1024 ** 4 });
  const before = await stat(path);
  await overlay.writeCluster(16 * 1024 * 1024 - 1, Buffer.alloc(CLUSTER_BYTES, 1));
  await overlay.finish();
  expect(before.mode & 0o777).toBe(0o600);
  expect((await stat(path)).size).toBe(before.size);
  expect(before.blocks * 512).toBeLessThan(64 * CLUSTER_BYTES);
});

test('a write after the end is an error, and a second close is none', async () => {
  const overlay = await OverlayFile.create({ path: join(dir, 'overlay'), sizeBytes: SIZE_BYTES });
  await overlay.finish();
  await overlay.close();
  const late = overlay.writeCluster(0, Buffer.alloc(CLUSTER_BYTES, 1));
  await expect(late).rejects.toThrow(OverlayFileError);
});
