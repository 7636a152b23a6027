/** Artifacts from a TLS server that sends them right, wrong, cut short, or more than there is room for. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { execa } from 'execa';
import { pino } from 'pino';
import type { Agent } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  ArtifactDamagedError,
  ArtifactDiskFullError,
  ArtifactFetchError,
} from '../../../host-agent/artifacts/artifact-errors.ts';
import { openArtifact } from '../../../host-agent/artifacts/artifact-store.ts';
import { fetchArtifact } from '../../../host-agent/artifacts/fetch.ts';
import { createDispatcher } from '../../../host-agent/control/tls.ts';
import { artifactFolder } from '../../../host-agent/protocol/artifact.ts';
import type { Digest } from '../../../host-agent/protocol/ids.ts';
import { publishImage, serveImage } from './published-image.ts';
import type { TlsServer } from './tls-server.ts';

const DISK_BYTES = 8 * 1024 * 1024;
const logger = pino({ level: 'silent' });

let dir: string;
let published: string;
let store: string;
let digest: Digest;
let server: TlsServer;
let dispatcher: Agent;
/** What a test does to one answer; true when it has answered. */
let spoil: (file: string, response: ServerResponse, bytes: Buffer) => boolean;
let asked: string[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'artifact-fetch-'));
  published = join(dir, 'published');
  store = join(dir, 'store');
  await mkdir(store, { recursive: true });
  digest = await publishImage(published, DISK_BYTES);
  spoil = () => false;
  asked = [];
  server = await serveImage(published, digest, (file, response, bytes) => {
    asked.push(file);
    return spoil(file, response, bytes);
  });
  dispatcher = createDispatcher(await server.identity());
});

afterEach(async () => {
  await dispatcher.destroy();
  await server.close();
  await rm(dir, { recursive: true, force: true });
});

function fetchInto(storeDir: string): Promise<string> {
  const source = { url: server.url, dispatcher };
  return fetchArtifact({ storeDir, digest, source, logger, signal: AbortSignal.timeout(60_000) });
}

test('what is sent right arrives whole, and sparse', async () => {
  await fetchInto(store);
  const { dir: folder } = await openArtifact(store, digest);
  const original = join(published, artifactFolder(digest), 'disk.raw');
  expect(await readFile(join(folder, 'disk.raw'))).toEqual(await readFile(original));
  expect((await stat(join(folder, 'disk.raw'))).blocks * 512).toBeLessThan(DISK_BYTES / 4);
});

test('fetching what another fetched meanwhile changes nothing', async () => {
  await Promise.all([fetchInto(store), fetchInto(store)]);
  await openArtifact(store, digest);
  expect(await readdir(store)).toEqual([artifactFolder(digest)]);
});

test('other bytes are refused at once and nothing of them stays', async () => {
  spoil = (file, response, bytes) => {
    if (file !== 'disk.raw') return false;
    bytes[4096] = 1;
    response.writeHead(200, { 'content-type': 'application/zstd' });
    response.end(zstdCompressSync(bytes));
    return true;
  };
  await expect(fetchInto(store)).rejects.toThrow(ArtifactDamagedError);
  expect(asked.filter((file) => file === 'disk.raw')).toHaveLength(1);
  expect(await readdir(store)).toEqual([]);
});

test('more bytes than listed are refused', async () => {
  spoil = (file, response, bytes) => {
    if (file !== 'vmlinuz') return false;
    response.writeHead(200, { 'content-type': 'application/zstd' });
    response.end(zstdCompressSync(Buffer.concat([bytes, Buffer.alloc(1_000_000)])));
    return true;
  };
  await expect(fetchInto(store)).rejects.toThrow(/longer than listed/);
  expect(await readdir(store)).toEqual([]);
});

test('another description is refused', async () => {
  spoil = (file, response, bytes) => {
    if (file !== 'artifact.json') return false;
    response.writeHead(200, { 'content-type': 'application/zstd' });
    response.end(zstdCompressSync(Buffer.concat([bytes, Buffer.from(' ')])));
    return true;
  };
  await expect(fetchInto(store)).rejects.toThrow(ArtifactDamagedError);
});

test('a transfer that is cut short once is tried again, for that file alone', async () => {
  let cut = false;
  spoil = (file, response, bytes) => {
    if (file !== 'vmlinuz' || cut) return false;
    cut = true;
    response.writeHead(200, { 'content-type': 'application/zstd' });
    response.write(zstdCompressSync(bytes).subarray(0, 10), () => response.destroy());
    return true;
  };
  await fetchInto(store);
  await openArtifact(store, digest);
  expect(asked).toEqual(['artifact.json', 'disk.raw', 'vmlinuz', 'vmlinuz']);
});

test('a transfer that always ends too early is given up, and may be tried later', async () => {
  spoil = (file, response, bytes) => {
    if (file !== 'disk.raw') return false;
    response.writeHead(200, { 'content-type': 'application/zstd' });
    response.end(zstdCompressSync(bytes.subarray(0, 5000)));
    return true;
  };
  await expect(fetchInto(store)).rejects.toThrow(ArtifactFetchError);
  expect(asked.filter((file) => file === 'disk.raw')).toHaveLength(4);
  expect(await readdir(store)).toEqual([]);
});

test('an absent artifact says so', async () => {
  spoil = (_file, response) => {
    response.writeHead(404).end();
    return true;
  };
  await expect(fetchInto(store)).rejects.toThrow(/answered 404/);
});

test('a full disk is told apart, and the room is given back', async () => {
  const small = join(dir, 'small');
  await mkdir(small);
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', small]);
  try {
    spoil = (file, response) => {
      if (file !== 'disk.raw') return false;
      response.writeHead(200, { 'content-type': 'application/zstd' });
      response.end(zstdCompressSync(Buffer.alloc(DISK_BYTES, 1)));
      return true;
    };
    await expect(fetchInto(small)).rejects.toThrow(ArtifactDiskFullError);
    expect(await readdir(small)).toEqual([]);
  } finally {
    await execa('umount', [small]);
  }
});
