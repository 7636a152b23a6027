import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PAGE_BYTES } from '../stream/stream-format.ts';
import { MemoryBaseError } from './image-errors.ts';
import { MemoryBase } from './memory-base.ts';
import { MemoryImage } from './memory-image.ts';

const PAGES = 40;
const BLOCKS = [
  { name: 'm0', sizeBytes: PAGES * PAGE_BYTES },
  { name: 'm1', sizeBytes: PAGES * PAGE_BYTES },
];
const dir = mkdtempSync(join(tmpdir(), 'architect-image-'));
const path = join(dir, 'memory');
let base: MemoryBase;

/** Pages 0–3 and 20 of the template hold their number plus one; the rest is a hole. */
function baseFill(page: number): number {
  return page < 4 || page === 20 ? page + 1 : 0;
}

beforeAll(async () => {
  writeFileSync(path, Buffer.concat([1, 2, 3, 4].map((fill) => Buffer.alloc(PAGE_BYTES, fill))));
  truncateSync(path, 20 * PAGE_BYTES);
  writeFileSync(path, Buffer.alloc(PAGE_BYTES, 21), { flag: 'a' });
  truncateSync(path, PAGES * PAGE_BYTES);
  base = await MemoryBase.open(path);
});

afterAll(() => rmSync(dir, { recursive: true }));

function makeImage(): MemoryImage {
  return new MemoryImage({ blocks: BLOCKS, base: { block: 'm0', memory: base } });
}

function pageOf(fill: number): Buffer {
  return Buffer.alloc(PAGE_BYTES, fill);
}

describe('base', () => {
  test('has what the file has, and keeps no zeros', () => {
    for (let page = 0; page < PAGES; page += 1) {
      expect(base.page(page)).toEqual(pageOf(baseFill(page)));
      expect(base.isZero(page)).toBe(baseFill(page) === 0);
    }
    expect(() => base.page(PAGES)).toThrow(RangeError);
  });

  test('is shared, not copied, with whom it is posted to', async () => {
    const own = await MemoryBase.open(path);
    const other = new MemoryBase(structuredClone(own.share));
    own.page(20).fill(99);
    expect(other.page(20)).toEqual(pageOf(99));
  });

  test('a file that is none, or none of whole pages, is refused', async () => {
    await expect(MemoryBase.open(join(dir, 'nothing'))).rejects.toThrow(MemoryBaseError);
    writeFileSync(join(dir, 'odd'), 'odd');
    await expect(MemoryBase.open(join(dir, 'odd'))).rejects.toThrow(MemoryBaseError);
  });

  test('a block of another size is refused', () => {
    const blocks = [{ name: 'm0', sizeBytes: PAGE_BYTES }];
    const make = () => new MemoryImage({ blocks, base: { block: 'm0', memory: base } });
    expect(make).toThrow(MemoryBaseError);
  });
});

const anyPut = fc.record({
  block: fc.nat({ max: 1 }),
  page: fc.nat({ max: PAGES - 1 }),
  /** 0 as data is a page that QEMU did not notice to be zero. */
  fill: fc.nat({ max: 4 }),
  asZero: fc.boolean(),
});

test('property: memory is what was put last, over the base; only what differs is marked', () => {
  fc.assert(
    fc.property(fc.array(anyPut, { maxLength: 150 }), (puts) => {
      const image = makeImage();
      const sets = image.watch();
      const model = BLOCKS.map((_, block) =>
        Array.from({ length: PAGES }, (_, page) => (block === 0 ? baseFill(page) : 0)),
      );
      const touched = BLOCKS.map(() => new Set<number>());
      for (const { block, page, fill, asZero } of puts) {
        const wanted = asZero ? 0 : fill;
        const offset = page * PAGE_BYTES;
        const before = image.stateOf(block, page);
        const changed = asZero
          ? image.putZero(block, offset)
          : image.putPage(block, offset, pageOf(fill));
        const differs = model[block]?.[page] !== wanted;
        // Zeros that came as data may be noted as zero once QEMU calls them so.
        if (before !== 'own') expect(changed).toBe(differs);
        if (differs) expect(changed).toBe(true);
        if (changed) touched[block]?.add(page);
        model[block]?.splice(page, 1, wanted);
        if (before !== 'base') expect(image.stateOf(block, page)).not.toBe('base');
      }
      for (const [block, pages] of model.entries()) {
        for (const [page, fill] of pages.entries()) {
          expect(image.readPage(block, page)).toEqual(pageOf(fill));
        }
        expect([...(sets[block] ?? [])]).toEqual([...(touched[block] ?? [])].sort((a, b) => a - b));
      }
    }),
    { numRuns: 40 },
  );
});

test('zeros over a page of the base are zero, not as in base', () => {
  const image = makeImage();
  expect(image.putZero(0, PAGE_BYTES)).toBe(true);
  expect(image.stateOf(0, 1)).toBe('zero');
  expect(image.stateOf(0, 2)).toBe('base');
  expect(image.readPage(0, 1)).toEqual(pageOf(0));
  expect(image.stateOf(1, 1)).toBe('zero');
});

test('a range is base, zero, or whole with the pages of the base filled in', () => {
  const image = makeImage();
  expect(image.readRange(0, 0)).toEqual({ kind: 'base' });
  expect(image.readRange(1, 0)).toEqual({ kind: 'zero' });
  image.putZero(0, 0);
  const mixed = [0, 2, 3, 4].map(pageOf);
  const rest = Buffer.alloc(12 * PAGE_BYTES);
  expect(image.readRange(0, 0)).toEqual({ kind: 'own', content: Buffer.concat([...mixed, rest]) });
  for (let page = 1; page < 4; page += 1) image.putZero(0, page * PAGE_BYTES);
  expect(image.readRange(0, 0)).toEqual({ kind: 'zero' });
});

test('the last range of a block is as long as the block has pages', () => {
  const image = makeImage();
  image.putPage(1, 33 * PAGE_BYTES, pageOf(7));
  const content = Buffer.concat([pageOf(0), pageOf(7), Buffer.alloc(6 * PAGE_BYTES)]);
  expect(image.readRange(1, 2)).toEqual({ kind: 'own', content });
  expect(() => image.readRange(1, 3)).toThrow(RangeError);
});

test('a watcher sees what changes while it watches, or everything from the start', () => {
  const image = makeImage();
  image.putPage(0, 0, pageOf(9));
  const late = image.watch();
  const whole = image.watch({ everything: true });
  image.putPage(0, PAGE_BYTES, pageOf(9));
  image.unwatch(late);
  image.putPage(0, 2 * PAGE_BYTES, pageOf(9));
  expect(late[0]?.take(10)).toEqual([1]);
  expect(whole[0]?.take(10)).toEqual([0, 1, 2]);
});

test('hot-plug: blocks keep index and content, wherever others are listed', () => {
  const image = makeImage();
  const sets = image.watch();
  image.putPage(1, 0, pageOf(5));
  const [m0, m1] = BLOCKS;
  const dimm = { name: 'dimm', sizeBytes: 2 * PAGE_BYTES };
  expect(image.setBlocks([dimm, ...BLOCKS])).toEqual([2, 0, 1]);
  image.putPage(2, PAGE_BYTES, pageOf(6));
  expect(sets[2]?.take(10)).toEqual([1]);
  expect(image.readPage(1, 0)).toEqual(pageOf(5));
  expect(image.setBlocks([m0, m1].filter((block) => block !== undefined))).toEqual([0, 1]);
  expect(() => image.readPage(2, 0)).toThrow(RangeError);
  // The same name again is another block.
  expect(image.setBlocks([dimm, ...BLOCKS])).toEqual([3, 0, 1]);
  expect(image.readPage(3, 1)).toEqual(pageOf(0));
});

test('memory is taken for pages that differ only', () => {
  const image = makeImage();
  image.putPage(0, 0, pageOf(1));
  image.putZero(1, 0);
  expect(image.ownPages).toBe(0);
  image.putPage(0, 0, pageOf(2));
  image.putPage(0, 0, pageOf(3));
  expect(image.ownPages).toBe(1);
  image.putZero(0, 0);
  expect(image.ownPages).toBe(0);
});
