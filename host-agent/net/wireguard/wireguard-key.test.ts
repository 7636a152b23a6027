import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ensureWireguardKeys } from './wireguard-key.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'wireguard-key-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test('a key is made once, is one for wg, and nobody else reads it', async () => {
  const keys = await ensureWireguardKeys(dir);
  expect(await ensureWireguardKeys(dir)).toEqual(keys);
  const { stdout } = await execa('wg', ['pubkey'], { input: keys.privateKey });
  expect(stdout).toBe(keys.publicKey);
  const [file = ''] = await readdir(dir);
  expect((await stat(join(dir, file))).mode & 0o777).toBe(0o600);
});
