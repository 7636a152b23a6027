import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { StoreSpec } from '../host-agent/protocol/store-spec.ts';
import { Store } from './settings/settings.ts';
import { readStore, StoreConfigError } from './store-config.ts';

const read = (store: Record<string, string>, localFolder?: string) =>
  readStore(Store.parse(store), localFolder);

function secretFile(text: string, mode = 0o600): string {
  const dir = mkdtempSync(join(tmpdir(), 'store-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, 'credentials.json');
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

test('a folder where one is named or all hosts are here, else none', () => {
  expect(read({}, '/data/chunks')).toEqual({ kind: 'folder', path: '/data/chunks' });
  expect(read({ folder: '/mnt/nfs' }, '/x')).toEqual({ kind: 'folder', path: '/mnt/nfs' });
  expect(read({})).toBeUndefined();
});

test('a bucket, with its credentials from a private file', () => {
  const keys = { accessKeyId: 'AK', secretAccessKey: 'very-secret' };
  const spec = read({
    bucket: 'chunks',
    endpoint: 'http://127.0.0.1:9000',
    prefix: 'ci/',
    credentialsFile: secretFile(JSON.stringify(keys)),
  });
  expect(StoreSpec.parse(spec)).toEqual({
    kind: 's3',
    endpoint: 'http://127.0.0.1:9000',
    region: 'us-east-1',
    bucket: 'chunks',
    prefix: 'ci/',
    forcePathStyle: true,
    credentials: keys,
  });
  expect(read({ bucket: 'chunks' })).not.toHaveProperty('credentials');
});

test.each([
  ['both', () => ({ folder: '/a', bucket: 'chunks' })],
  ['a file for all', () => withFile(secretFile('{}', 0o644))],
  ['a file of nonsense', () => withFile(secretFile('{"accessKeyId":"very-secret"}'))],
  ['no file', () => withFile('/nowhere')],
])('refuses %s and never says a secret', (_name, env) => {
  const attempt = () => read(env());
  expect(attempt).toThrow(StoreConfigError);
  expect(attempt).not.toThrow(/very-secret/);
});

function withFile(path: string) {
  return { bucket: 'chunks', credentialsFile: path };
}
