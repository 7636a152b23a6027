import { expect, test } from 'vitest';
import { MemoryChunkStore } from '../../../test/fakes/chunks/memory-chunk-store.ts';
import {
  changeImages,
  changeMemory,
  differences,
  makeBase,
  makeImages,
  seeded,
} from '../../../test/fakes/vm-images/random-vm.ts';
import type { VmLayout } from '../transfer/layout.ts';
import { restoreImages } from '../transfer/restore-images.ts';
import { SealError, Sealer } from './sealer.ts';

const signal = AbortSignal.timeout(60_000);
const ALL = { limitBytes: Number.POSITIVE_INFINITY, signal };

function countKinds(layout: VmLayout) {
  const kinds = { base: 0, zero: 0, peer: 0, chunk: 0, stale: 0 };
  for (const range of layout.flatMap(({ ranges }) => ranges)) {
    kinds[range.kind] += 1;
    if (range.kind === 'chunk' && range.stale.length > 0) kinds.stale += 1;
  }
  return kinds;
}

async function sealedVm(seed: number) {
  const chance = seeded(seed);
  const base = makeBase(chance);
  const images = await makeImages(base);
  const store = new MemoryChunkStore();
  const sealer = new Sealer({ ...images, store });
  await changeImages(images, { chance, base, changes: 300 });
  return { chance, base, images, store, sealer };
}

test.each([1, 2, 3, 4, 5])('seed %i: a machine comes back from what was sealed', async (seed) => {
  const { chance, base, images, store, sealer } = await sealedVm(seed);
  await using _ = images;
  await sealer.step(sealer.unsealed().slice(0, 30), ALL);
  await changeImages(images, { chance, base, changes: 50 });
  const stored = await sealer.sealAll(signal);
  await using restored = await makeImages(base);
  await restoreImages({ images: restored, stored, source: store, signal });
  expect(await differences(images, restored)).toEqual([]);
});

test.each([1, 2, 3])(
  'seed %i: what changes while it is sealed is stale, never lost',
  async (seed) => {
    const { chance, base, images, store, sealer } = await sealedVm(seed);
    await using _ = images;
    store.beforeAdd = () => changeMemory(images.memory, { chance, base, changes: 3 });
    await sealer.step(sealer.unsealed(), ALL);
    store.beforeAdd = () => {};
    expect(countKinds(sealer.layout()).stale).toBeGreaterThan(0);
    const stored = await sealer.sealAll(signal);
    await using restored = await makeImages(base);
    await restoreImages({ images: restored, stored, source: store, signal });
    expect(await differences(images, restored)).toEqual([]);
  },
);

test('a store that is down costs nothing but its chunks, and is tried again', async () => {
  const { images, store, sealer } = await sealedVm(7);
  await using _ = images;
  const before = countKinds(sealer.layout());
  store.isDown = true;
  const failed = await sealer.step(sealer.unsealed(), ALL);
  expect(failed).toMatchObject({ sealedRanges: 0, failedRanges: 1 });
  expect(countKinds(sealer.layout())).toEqual(before);
  await expect(sealer.sealAll(signal)).rejects.toThrow(SealError);
  store.isDown = false;
  await sealer.sealAll(signal);
  expect(countKinds(sealer.layout())).toMatchObject({ peer: 0, stale: 0 });
});

test('a step seals no more than its limit, and nothing twice', async () => {
  const { images, sealer } = await sealedVm(8);
  await using _ = images;
  const targets = sealer.unsealed();
  const limit = { limitBytes: 5 * 65_536, signal };
  const first = await sealer.step([...targets, ...targets], limit);
  expect(first.sealedRanges).toBeGreaterThanOrEqual(5);
  expect(first.sealedRanges).toBeLessThanOrEqual(7);
  await sealer.step([...targets, ...targets], ALL);
  expect(sealer.unsealed()).toEqual([]);
  expect(await sealer.step(targets, ALL)).toMatchObject({ sealedRanges: 0 });
});

test('a step that is not wanted any more ends at the next range', async () => {
  const { images, store, sealer } = await sealedVm(12);
  await using _ = images;
  const stop = new AbortController();
  let added = 0;
  store.beforeAdd = () => {
    added += 1;
    if (added === 3) stop.abort(new Error('a notice'));
  };
  const step = sealer.step(sealer.unsealed(), { ...ALL, signal: stop.signal });
  await expect(step).rejects.toThrow('a notice');
  expect(added).toBe(3);
  store.beforeAdd = () => {};
  await sealer.sealAll(signal);
});

test('chunks that are gone are sealed anew', async () => {
  const { images, sealer } = await sealedVm(9);
  await using _ = images;
  const targets = sealer.unsealed();
  await sealer.sealAll(signal);
  sealer.forget(() => true);
  expect(sealer.unsealed()).toEqual(targets);
});

test('images that change while everything is sealed make no manifest', async () => {
  const { chance, base, images, store, sealer } = await sealedVm(10);
  await using _ = images;
  store.beforeAdd = () => changeMemory(images.memory, { chance, base, changes: 20 });
  await expect(sealer.sealAll(signal)).rejects.toThrow(/changed/);
});

test('a manifest of another machine, or with a chunk that is gone, restores nothing', async () => {
  const { base, images, store, sealer } = await sealedVm(11);
  await using _ = images;
  const stored = await sealer.sealAll(signal);
  const request = { images, stored, source: store, signal };
  const other = { ...stored, memory: stored.memory.slice(1) };
  await expect(restoreImages({ ...request, stored: other })).rejects.toThrow(/not the one/);
  store.fault = () => 'missing';
  await using fresh = await makeImages(base);
  await expect(restoreImages({ ...request, images: fresh })).rejects.toThrow(/cannot be had/);
});
