/** The runner's download, from a server on the loopback: the right bytes, wrong ones, too few. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import type { RunnerRelease } from '../../../runner-image/runner-release.ts';
import {
  checkRunnerTarball,
  ensureRunnerTarball,
  RunnerTarballError,
  unpackRunner,
} from '../../../runner-image/runner-tarball.ts';

const NEVER = new AbortController().signal;

let tarball: Buffer;
let server: Server;
let origin: string;
let requests: string[];
let dir: string;

beforeAll(async () => {
  tarball = await makeTarball();
  server = createServer((request, response) => {
    requests.push(request.url ?? '');
    if (request.url === '/right') response.end(tarball);
    else if (request.url === '/wrong') response.end(Buffer.from(tarball).fill(7, 20, 40));
    else if (request.url === '/truncated') {
      response.writeHead(200, { 'content-length': tarball.length });
      response.write(tarball.subarray(0, tarball.length / 2), () => response.destroy());
    } else if (request.url === '/short') response.end(tarball.subarray(0, tarball.length / 2));
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  origin = `http://127.0.0.1:${address.port}`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

beforeEach(async () => {
  requests = [];
  const made = await mkdtemp(join(tmpdir(), 'runner-tarball-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  dir = made;
});

function release(path: string): RunnerRelease {
  const sha256 = createHash('sha256').update(tarball).digest('hex');
  return { version: '9.9.9', url: `${origin}${path}`, sha256 };
}

it('takes the right tarball, once, and unpacks it', async () => {
  const path = join(dir, 'runner.tar.gz');
  await ensureRunnerTarball({ release: release('/right'), path, signal: NEVER });
  await ensureRunnerTarball({ release: release('/right'), path, signal: NEVER });
  expect(requests).toEqual(['/right']);
  await unpackRunner(path, join(dir, 'out'), NEVER);
  expect(await readFile(join(dir, 'out', 'run.sh'), 'utf8')).toContain('a runner');
});

it.each(['/wrong', '/truncated', '/short', '/absent'])(
  'refuses what %s gives and keeps nothing of it',
  async (what) => {
    const path = join(dir, 'runner.tar.gz');
    const outcome = ensureRunnerTarball({ release: release(what), path, signal: NEVER });
    await expect(outcome).rejects.toBeInstanceOf(RunnerTarballError);
    expect(requests).toEqual([what]);
    expect(await readdir(dir)).toEqual([]);
  },
);

it('says what is wrong with a given file and leaves the file alone', async () => {
  const path = join(dir, 'mine.tar.gz');
  await writeFile(path, tarball.subarray(1));
  await expect(checkRunnerTarball(path, release('/right'))).rejects.toThrow(
    /is not actions\/runner 9\.9\.9: its SHA-256 is [0-9a-f]{64}/,
  );
  expect(await readdir(dir)).toEqual(['mine.tar.gz']);
});

/** A stand-in for the release: large enough to be cut in its middle. */
async function makeTarball(): Promise<Buffer> {
  const source = await mkdtemp(join(tmpdir(), 'runner-source-'));
  try {
    await writeFile(join(source, 'run.sh'), '#!/bin/sh\necho a runner\n', { mode: 0o755 });
    await writeFile(
      join(source, 'weight'),
      createHash('shake256', { outputLength: 200_000 }).update('').digest(),
    );
    const { stdout } = await execa('tar', ['-cz', '-C', source, '.'], { encoding: 'buffer' });
    return Buffer.from(stdout);
  } finally {
    await rm(source, { recursive: true, force: true });
  }
}
