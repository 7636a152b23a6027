import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  ArtifactDamagedError,
  ArtifactMissingError,
} from '../../../host-agent/artifacts/artifact-errors.ts';
import {
  type ArtifactDescription,
  createStagingFolder,
  hasArtifact,
  listArtifacts,
  openArtifact,
  publishArtifact,
} from '../../../host-agent/artifacts/artifact-store.ts';
import { hashFile, sha256Hex } from '../../../host-agent/artifacts/hash-file.ts';
import { Digest } from '../../../host-agent/protocol/ids.ts';

const description: ArtifactDescription = {
  kind: 'image',
  profile: 'small',
  arch: 'x64',
  guestKernel: '6.12.0-test',
  kernelArguments: 'quiet',
};

let storeDir: string;
beforeEach(async () => {
  storeDir = await mkdtemp(join(tmpdir(), 'artifact-store-'));
});
afterEach(() => rm(storeDir, { recursive: true, force: true }));

async function publish(text: string): Promise<Digest> {
  const stagingDir = await createStagingFolder(storeDir);
  await writeFile(join(stagingDir, 'vmlinuz'), text);
  return publishArtifact({ storeDir, stagingDir, description });
}

test('a published artifact opens, and the same content has the same name', async () => {
  const digest = await publish('kernel');
  expect(await publish('kernel')).toBe(digest);
  expect(await publish('another')).not.toBe(digest);
  const { artifact, dir } = await openArtifact(storeDir, digest);
  expect(artifact.files).toEqual([
    { name: 'vmlinuz', sizeBytes: 6, sha256: sha256Hex(Buffer.from('kernel')) },
  ]);
  expect((await readdir(dir)).sort()).toEqual(['artifact.json', 'vmlinuz']);
  expect(await listArtifacts(storeDir, 10)).toContain(digest);
  expect((await readdir(storeDir)).filter((name) => name.startsWith('.tmp-'))).toEqual([]);
});

test('an absent artifact is missing, a shortened or altered one is damaged', async () => {
  const absent = Digest.parse(`sha256:${'0'.repeat(64)}`);
  await expect(openArtifact(storeDir, absent)).rejects.toThrow(ArtifactMissingError);
  const digest = await publish('kernel');
  const { dir } = await openArtifact(storeDir, digest);
  await truncate(join(dir, 'vmlinuz'), 3);
  await expect(openArtifact(storeDir, digest)).rejects.toThrow(/vmlinuz has 3 bytes/);
  expect(await hasArtifact(storeDir, digest)).toBe(false);
  await writeFile(join(dir, 'artifact.json'), '{}');
  await expect(openArtifact(storeDir, digest)).rejects.toThrow(ArtifactDamagedError);
});

test('a hole hashes as zeros', async () => {
  const path = join(storeDir, 'sparse');
  await writeFile(path, 'x');
  await truncate(path, 5_000_000);
  const zeros = Buffer.alloc(5_000_000);
  zeros[0] = 'x'.charCodeAt(0);
  expect(await hashFile(path)).toEqual({ sizeBytes: 5_000_000, sha256: sha256Hex(zeros) });
});
