/** The same tree gives the same image, however and whenever the tree was written. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { cp, lutimes, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeFileSystem } from '../../../runner-image/filesystem.ts';
import { SOURCE_DATE_EPOCH } from '../../../runner-image/profiles.ts';
import { findPreparedImage, inspectImage } from './prepared-image.ts';

const NEVER = new AbortController().signal;
const FILES = Array.from({ length: 200 }, (_unused, index) => `file-${index}`);

let dir: string;
let toolRoot: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'file-system-'));
  toolRoot = join(dir, 'tools');
  await takeMke2fs(toolRoot);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

it('does not depend on the order or the time of writing', async () => {
  const forward = await hashOf('forward', FILES);
  const backward = await hashOf('backward', FILES.toReversed());
  expect(backward).toBe(forward);
});

it('does depend on the content', async () => {
  const one = await hashOf('one', FILES);
  const other = await hashOf('other', [...FILES, 'one-more']);
  expect(other).not.toBe(one);
});

async function hashOf(name: string, files: readonly string[]): Promise<string> {
  const root = join(dir, name);
  await mkdir(join(root, 'sub'), { recursive: true });
  for (const file of files) await writeFile(join(root, 'sub', file), file.repeat(100));
  await symlink('sub', join(root, 'link'));
  await freeze(root);
  const imagePath = `${root}.raw`;
  await makeFileSystem({ root, imagePath, signal: NEVER, toolRoot });
  const { stdout } = await execa('e2fsck', ['-fn', imagePath]);
  expect(stdout).toContain('Pass 5');
  const hash = createHash('sha256');
  await pipeline(createReadStream(imagePath), hash);
  await rm(imagePath);
  return hash.digest('hex');
}

async function freeze(root: string): Promise<void> {
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    await lutimes(join(entry.parentPath, entry.name), SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH);
  }
  await lutimes(root, SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH);
}

/** The guest's mke2fs with its loader and libraries, copied out of the prepared image. */
async function takeMke2fs(into: string): Promise<void> {
  const image = await findPreparedImage();
  const unpacked = join(dir, 'unpacked');
  await mkdir(unpacked);
  for (const folder of ['/usr/lib/x86_64-linux-gnu', '/usr/sbin']) {
    await inspectImage(image, `rdump ${folder} ${unpacked}`);
  }
  await mkdir(join(into, 'usr/lib'), { recursive: true });
  await mkdir(join(into, 'lib64'));
  await cp(join(unpacked, 'x86_64-linux-gnu'), join(into, 'usr/lib/x86_64-linux-gnu'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  await cp(join(unpacked, 'sbin'), join(into, 'usr/sbin'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  await cp(
    join(into, 'usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2'),
    join(into, 'lib64/ld-linux-x86-64.so.2'),
  );
  await rm(unpacked, { recursive: true });
}
