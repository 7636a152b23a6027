import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { StoreSpec } from '../host-agent/protocol/store-spec.ts';
import { readStore, StoreConfigError, StoreEnvironment } from './store-config.ts';

const read = (env: Record<string, string>, localFolder?: string) =>
  readStore(z.object(StoreEnvironment).parse(env), localFolder);

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
  expect(read({ ARCHITECT_STORE: '/mnt/nfs' }, '/x')).toEqual({ kind: 'folder', path: '/mnt/nfs' });
  expect(read({})).toBeUndefined();
});

test('a bucket, with its credentials from a private file', () => {
  const keys = { accessKeyId: 'AK', secretAccessKey: 'very-secret' };
  const spec = read({
    ARCHITECT_STORE_BUCKET: 'chunks',
    ARCHITECT_STORE_ENDPOINT: 'http://127.0.0.1:9000',
    ARCHITECT_STORE_PREFIX: 'ci/',
    ARCHITECT_STORE_CREDENTIALS_FILE: secretFile(JSON.stringify(keys)),
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
  expect(read({ ARCHITECT_STORE_BUCKET: 'chunks' })).not.toHaveProperty('credentials');
});

test.each([
  ['both', () => ({ ARCHITECT_STORE: '/a', ARCHITECT_STORE_BUCKET: 'chunks' })],
  ['a file for all', () => withFile(secretFile('{}', 0o644))],
  ['a file of nonsense', () => withFile(secretFile('{"accessKeyId":"very-secret"}'))],
  ['no file', () => withFile('/nowhere')],
])('refuses %s and never says a secret', (_name, env) => {
  const attempt = () => read(env());
  expect(attempt).toThrow(StoreConfigError);
  expect(attempt).not.toThrow(/very-secret/);
});

function withFile(path: string) {
  return { ARCHITECT_STORE_BUCKET: 'chunks', ARCHITECT_STORE_CREDENTIALS_FILE: path };
}
