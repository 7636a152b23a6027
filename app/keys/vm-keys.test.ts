import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { VmId } from '../../host-agent/protocol/ids.ts';
import { VmKey } from '../../host-agent/protocol/migration-messages.ts';
import { MasterKeyError, openMasterKey } from './master-key.ts';
import { VmKeyError, VmKeys } from './vm-keys.ts';

const VM = VmId.parse('vm-1');

test('a wrapped key comes back, for its own VM and under its own master key only', () => {
  const master = randomBytes(32);
  const keys = new VmKeys(master);
  const key = VmKey.parse(keys.issue(VM));
  expect(new VmKeys(master).unwrap(VM, key.wrapped)).toEqual(key);
  expect(() => keys.unwrap(VmId.parse('vm-2'), key.wrapped)).toThrow(VmKeyError);
  expect(() => new VmKeys(randomBytes(32)).unwrap(VM, key.wrapped)).toThrow(VmKeyError);
  expect(keys.issue(VM).plain).not.toBe(key.plain);
});

test('a changed bit anywhere is found', () => {
  const keys = new VmKeys(randomBytes(32));
  const bytes = Buffer.from(keys.issue(VM).wrapped, 'base64');
  for (let at = 0; at < bytes.length; at += 1) {
    const changed = Buffer.from(bytes);
    changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
    expect(() => keys.unwrap(VM, changed.toString('base64'))).toThrow(VmKeyError);
  }
});

test('the master key is private, made once, and never made anew over a broken file', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'master-key-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const [one, other] = await Promise.all([openMasterKey(dir), openMasterKey(dir)]);
  expect(one.equals(other)).toBe(true);
  expect((await openMasterKey(dir)).equals(one)).toBe(true);
  const path = join(dir, 'master.key');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  await writeFile(path, 'short');
  await expect(openMasterKey(dir)).rejects.toBeInstanceOf(MasterKeyError);
  expect(await readFile(path, 'utf8')).toBe('short');
});
