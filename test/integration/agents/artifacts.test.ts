import { createHash } from 'node:crypto';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { type Door, enrol, type Identity, openDoor } from './agent-door.ts';

const SPARSE_BYTES = 16 * 1024 * 1024;

async function storeImage(door: Door): Promise<string> {
  const artifact = JSON.stringify({
    kind: 'image',
    profile: 'small',
    arch: 'x64',
    guestKernel: '6.12.0',
    kernelArguments: '',
    files: [{ name: 'disk.raw', sizeBytes: SPARSE_BYTES, sha256: 'c'.repeat(64) }],
  });
  const hex = createHash('sha256').update(artifact).digest('hex');
  const folder = join(door.dir, 'artifacts', `sha256-${hex}`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'artifact.json'), artifact);
  await writeFile(join(folder, 'unlisted'), 'secret');
  await writeFile(join(door.dir, 'secret'), 'secret');
  const disk = await open(join(folder, 'disk.raw'), 'w');
  await disk.truncate(SPARSE_BYTES);
  await disk.write('end', SPARSE_BYTES - 3);
  await disk.close();
  return `/artifacts/sha256-${hex}`;
}

/** Sends the path as it is: a URL parser would take the dots out. */
async function get(door: Door, path: string, identity?: Identity) {
  const answer = Promise.withResolvers<{ status: number; body: Buffer }>();
  const call = httpsRequest(
    {
      host: '127.0.0.1',
      port: door.port,
      path,
      ca: door.authority.certificatePem,
      agent: false,
      ...(identity === undefined ? {} : { key: identity.key, cert: identity.cert }),
    },
    async (response) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of response) chunks.push(chunk);
      answer.resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) });
    },
  );
  call.on('error', answer.reject);
  call.end();
  return await answer.promise;
}

test('a host gets the plain bytes of a listed file, holes and all', async () => {
  await using door = await openDoor();
  const identity = await enrol(door);
  const base = await storeImage(door);
  const { status, body } = await get(door, `${base}/disk.raw`, identity);
  expect(status).toBe(200);
  const plain = zstdDecompressSync(body);
  expect(plain.length).toBe(SPARSE_BYTES);
  expect(plain.subarray(-3).toString()).toBe('end');
  expect(plain.subarray(0, -3).every((byte) => byte === 0)).toBe(true);
  const description = await get(door, `${base}/artifact.json`, identity);
  expect(JSON.parse(zstdDecompressSync(description.body).toString())).toMatchObject({
    kind: 'image',
  });
});

test('nothing else is served, and nothing without a certificate', async () => {
  await using door = await openDoor();
  const identity = await enrol(door);
  const base = await storeImage(door);
  expect((await get(door, `${base}/disk.raw`)).status).toBe(401);
  const absent = `/artifacts/sha256-${'0'.repeat(64)}/disk.raw`;
  for (const path of [
    `${base}/unlisted`,
    `${base}/../../secret`,
    `${base}/..%2f..%2fsecret`,
    absent,
  ]) {
    const { status, body } = await get(door, path, identity);
    expect(status).toBe(404);
    expect(body.toString()).not.toContain('secret');
  }
});
