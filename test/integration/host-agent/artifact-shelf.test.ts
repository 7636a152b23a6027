/** Artifacts that hosts hand on to one another through the chunk store. */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { pino } from 'pino';
import type { Agent } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ArtifactKeeper } from '../../../host-agent/artifacts/artifact-keeper.ts';
import { ArtifactShelf, PIECE_BYTES } from '../../../host-agent/artifacts/artifact-shelf.ts';
import { openArtifact } from '../../../host-agent/artifacts/artifact-store.ts';
import { fetchArtifact } from '../../../host-agent/artifacts/fetch.ts';
import { openFolderBackend } from '../../../host-agent/chunks/folder-backend.ts';
import type { ObjectBackend } from '../../../host-agent/chunks/object-backend.ts';
import { createDispatcher } from '../../../host-agent/control/tls.ts';
import { artifactFolder } from '../../../host-agent/protocol/artifact.ts';
import type { Digest } from '../../../host-agent/protocol/ids.ts';
import { until } from '../local-provider/until.ts';
import { publishImage, serveImage } from './published-image.ts';
import type { TlsServer } from './tls-server.ts';

const DISK_BYTES = 2 * PIECE_BYTES + 1_000;
const logger = pino({ level: 'silent' });

let dir: string;
let published: string;
let digest: Digest;
let backend: ObjectBackend;
let server: TlsServer;
let dispatcher: Agent;
let asked: number;
const signal = AbortSignal.timeout(120_000);
const place = (file: string) => `artifacts/${digest.slice('sha256:'.length)}/${file}`;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'artifact-shelf-'));
  published = join(dir, 'published');
  digest = await publishImage(published, DISK_BYTES);
  backend = await openFolderBackend(join(dir, 'chunks'));
  asked = 0;
  server = await serveImage(published, digest, () => {
    asked += 1;
    return false;
  });
  dispatcher = createDispatcher(await server.identity());
});
afterEach(async () => {
  await dispatcher.destroy();
  await server.close();
  backend.close();
  await rm(dir, { recursive: true, force: true });
});

/** On a new host; rejects when it is not whole there. */
async function fetchNew() {
  const storeDir = await mkdtemp(join(dir, 'host-'));
  const source = { url: server.url, dispatcher };
  const shelf = new ArtifactShelf(backend);
  const from = await fetchArtifact({ storeDir, digest, source, shelf, logger, signal });
  const { dir: folder } = await openArtifact(storeDir, digest);
  const original = join(published, artifactFolder(digest));
  for (const file of ['artifact.json', 'disk.raw', 'vmlinuz'])
    expect(await readFile(join(folder, file))).toEqual(await readFile(join(original, file)));
  return from;
}

async function fill(): Promise<void> {
  await new ArtifactShelf(backend).publish(await openArtifact(published, digest), signal);
}

test('the next host takes it from the store, and asks the control plane nothing', async () => {
  await fill();
  expect(await fetchNew()).toBe('chunk store');
  expect(asked).toBe(0);
});

test('a host that had it from the control plane shares it', async () => {
  const storeDir = join(dir, 'first');
  await mkdir(storeDir);
  const keeper = new ArtifactKeeper({
    ...{ storeDir, source: { url: server.url, dispatcher }, logger, signal, nowMs: Date.now },
    store: () => ({ kind: 'folder', path: join(dir, 'chunks') }),
    onChange: () => undefined,
  });
  keeper.want(digest);
  const shelf = new ArtifactShelf(backend);
  await until('it is in the store', () => shelf.describe(digest, signal));
  expect(keeper.state(digest).kind).toBe('here');
  expect(await fetchNew()).toBe('chunk store');
});

test('without its description it is not there', async () => {
  await fill();
  await backend.remove([place('artifact.json')], { signal });
  expect(await fetchNew()).toBe('control plane');
});

test('without one of its pieces it comes from the control plane', async () => {
  await fill();
  await backend.remove([place('disk.raw/1')], { signal });
  expect(await fetchNew()).toBe('control plane');
});

test.each([
  ['other bytes', Buffer.from('A KERNEL')],
  ['more bytes than listed', Buffer.from('another kernel')],
  ['more than a piece may have', Buffer.alloc(PIECE_BYTES + 1)],
  ['less than listed', Buffer.from('a ker')],
])('%s are not taken', async (_name, bytes) => {
  await fill();
  await backend.put(place('vmlinuz/0'), zstdCompressSync(bytes), { signal });
  expect(await fetchNew()).toBe('control plane');
});

test('another description is not taken, and is written anew', async () => {
  await fill();
  await backend.put(place('artifact.json'), Buffer.from('{}'), { signal });
  expect(await fetchNew()).toBe('control plane');
  await fill();
  expect(await fetchNew()).toBe('chunk store');
});
