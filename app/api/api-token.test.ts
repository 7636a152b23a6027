import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ensureApiToken } from './api-token.ts';

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'architect-token-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  return dir;
}

test('the token is made once', async () => {
  const dir = await folder();
  const token = await ensureApiToken(dir);
  expect(token.length).toBeGreaterThan(40);
  expect(await ensureApiToken(dir)).toBe(token);
});

test('an emptied file is no token that anybody has', async () => {
  const dir = await folder();
  await writeFile(join(dir, 'api-token'), '\n');
  await expect(ensureApiToken(dir)).rejects.toThrow(/api-token holds no token. Delete it/);
});
