import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CLUSTER_BYTES } from './cluster.ts';
import { DiskImage } from './disk-image.ts';

const CLUSTERS = 8;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'disk-image-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

async function createImage(sizeBytes = CLUSTERS * CLUSTER_BYTES): Promise<DiskImage> {
  return DiskImage.create({ path: join(dir, 'disk'), sizeBytes });
}

function filled(...bytes: readonly number[]): Buffer {
  return Buffer.concat(bytes.map((byte) => Buffer.alloc(CLUSTER_BYTES, byte)));
}

test('property: it reads what was written last, and every change is marked', async () => {
  const step = fc.record({
    cluster: fc.nat({ max: CLUSTERS - 1 }),
    fills: fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 4 }),
    isZero: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const image = await createImage();
      const changes = image.watch();
      const model = new Map<number, number>();
      for (const { cluster, fills, isZero } of steps) {
        const run = fills.slice(0, CLUSTERS - cluster);
        if (isZero) image.zero(cluster, run.length);
        else await image.write(cluster, filled(...run));
        for (const [at, fill] of run.entries()) model.set(cluster + at, isZero ? 0 : fill);
      }
      for (let cluster = 0; cluster < CLUSTERS; cluster += 1) {
        const fill = model.get(cluster);
        const state = fill === undefined ? 'base' : fill === 0 ? 'zero' : 'own';
        expect(image.stateOf(cluster)).toBe(state);
        expect(changes.has(cluster)).toBe(fill !== undefined);
        if (fill !== undefined) expect(await image.read(cluster)).toEqual(filled(fill));
      }
      await image.close();
    }),
    { numRuns: 30 },
  );
});

test('a run with zeroes in it reads as it was written', async () => {
  const image = await createImage();
  await image.write(0, filled(9, 9, 9, 9));
  await image.write(0, filled(1, 0, 0, 2));
  expect(await image.read(0, 4)).toEqual(filled(1, 0, 0, 2));
  expect(image.stateOf(1)).toBe('zero');
  await image.close();
});

test('a disk that ends in the middle of a cluster has a short last one', async () => {
  const sizeBytes = 2 * CLUSTER_BYTES + 512;
  const image = await createImage(sizeBytes);
  expect(image.clusters).toBe(3);
  const tail = Buffer.alloc(512, 7);
  await image.write(2, tail);
  expect(await image.read(2)).toEqual(tail);
  await image.write(1, Buffer.concat([filled(5), tail]));
  expect(await image.read(1, 2)).toEqual(Buffer.concat([filled(5), tail]));
  image.zero(0, 3);
  expect(await image.read(0, 3)).toEqual(Buffer.alloc(sizeBytes));
  await image.close();
});

test('who comes later sees what is there and what changes from then on, until it goes', async () => {
  const image = await createImage();
  await image.write(2, filled(1));
  const changes = image.watch();
  image.zero(5);
  expect(changes.take(10)).toEqual([2, 5]);
  image.unwatch(changes);
  image.zero(6);
  expect(changes.size).toBe(0);
  await image.close();
});

test.each([
  ['half a cluster', 0, 100],
  ['one beyond the end', CLUSTERS, CLUSTER_BYTES],
  ['a run beyond the end', CLUSTERS - 1, 2 * CLUSTER_BYTES],
  ['nothing', 0, 0],
  ['a cluster before the first', -1, CLUSTER_BYTES],
])('%s is refused', async (_what, cluster, length) => {
  const image = await createImage();
  await expect(image.write(cluster, Buffer.alloc(length, 1))).rejects.toThrow(RangeError);
  await image.close();
});

test("what is the template's cannot be read here", async () => {
  const image = await createImage();
  await image.write(0, filled(1));
  await expect(image.read(0, 2)).rejects.toThrow(RangeError);
  await image.close();
});

test("the file is its owner's, sparse and as large as the disk", async () => {
  const sizeBytes = 1024 ** 4;
  const image = await createImage(sizeBytes);
  await image.write(image.clusters - 1, filled(3));
  const { mode, size, blocks } = await stat(join(dir, 'disk'));
  expect(mode & 0o777).toBe(0o600);
  expect(size).toBe(sizeBytes);
  expect(blocks * 512).toBeLessThan(10 * CLUSTER_BYTES);
  await image.close();
});

test.each([0, -512, 1000, 17 * 1024 ** 4])('a disk of %s bytes is refused', async (sizeBytes) => {
  await expect(createImage(sizeBytes)).rejects.toThrow(RangeError);
});
