import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../../host-agent/chunks/chunk-errors.ts';
import { openBackend } from '../../../host-agent/chunks/open-backend.ts';
import { describeBackend } from './backend-contract.ts';

const { signal } = new AbortController();
const RIVAL = join(import.meta.dirname, 'rival.ts');

describeBackend('a folder', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'architect-chunks-'));
  const backend = await openBackend({ kind: 'folder', path: join(folder, 'store') });
  return { backend, stop: () => rm(folder, { recursive: true, force: true }) };
});

describe('a folder', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'architect-chunks-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('is for its owner only', async () => {
    const path = join(folder, 'store');
    const backend = await openBackend({ kind: 'folder', path });
    await backend.put('vms/a/b', Buffer.from('x'), { signal });
    const mode = async (name: string) => (await stat(join(path, name))).mode & 0o777;
    expect(await Promise.all([mode('.'), mode('vms'), mode('vms/a'), mode('vms/a/b')])).toEqual([
      0o700, 0o700, 0o700, 0o600,
    ]);
  });

  it('lets no process overtake another: every one of many increments counts', async () => {
    const backend = await openBackend({ kind: 'folder', path: folder });
    await backend.put('counter', Buffer.from('0'), { signal });
    const rivals = Array.from({ length: 4 }, () =>
      promisify(execFile)(process.execPath, [RIVAL, folder, '25']),
    );
    await Promise.all(rivals);
    expect((await backend.get('counter', { signal })).body.toString()).toBe('100');
  });

  it('forgets what a crash left half written, once it is old', async () => {
    await openBackend({ kind: 'folder', path: folder });
    await writeFile(join(folder, '.incoming/old'), 'half');
    await writeFile(join(folder, '.incoming/new'), 'half');
    await utimes(join(folder, '.incoming/old'), 1, 1);
    await openBackend({ kind: 'folder', path: folder });
    expect(await readdir(join(folder, '.incoming'))).toEqual(['new']);
  });

  it('says that it is unavailable where it cannot write', async () => {
    await writeFile(join(folder, 'file'), '');
    const path = join(folder, 'file/store');
    await expect(openBackend({ kind: 'folder', path })).rejects.toThrow(StoreUnavailableError);
  });
});
