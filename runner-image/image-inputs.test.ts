import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { hashInputs, IndexEntry, readIndex, writeIndex } from './image-inputs.ts';

let dir: string;
beforeEach(async () => {
  const made = await mkdtemp(join(tmpdir(), 'image-inputs-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  await mkdir(join(made, 'in', 'deep'), { recursive: true });
  await writeFile(join(made, 'in', 'deep', 'a'), 'one');
  dir = made;
});

const hash = (facts: string[] = ['24']) =>
  hashInputs({ profile: 'small', folders: [join(dir, 'in')], facts });

describe('hashInputs', () => {
  it('is the same for the same inputs', async () => {
    expect(await hash()).toBe(await hash());
  });

  it.each([
    ['a file’s content', () => writeFile(join(dir, 'in', 'deep', 'a'), 'two')],
    ['a further file', () => writeFile(join(dir, 'in', 'b'), '')],
  ])('changes with %s', async (_what, change) => {
    const before = await hash();
    await change();
    expect(await hash()).not.toBe(before);
  });

  it('changes with what goes in beside the folders', async () => {
    expect(await hash(['25'])).not.toBe(await hash());
  });

  it('does not change with a test beside the files', async () => {
    const before = await hash();
    await writeFile(join(dir, 'in', 'a.test.ts'), '');
    expect(await hash()).toBe(before);
  });
});

it('gives back an entry of the index, and nothing for a broken one', async () => {
  const path = join(dir, 'index', 'x.json');
  const image = `sha256:${'0'.repeat(64)}`;
  const entry = IndexEntry.parse({
    image,
    guestKernel: '6.12',
    builtAt: '2026-01-01T00:00:00Z',
    packages: ['a=1'],
  });
  await writeIndex(path, entry);
  expect(await readIndex(path)).toEqual(entry);
  await writeFile(path, '{');
  expect(await readIndex(path)).toBeUndefined();
});
