import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readConfig } from './config.ts';

test('every variable that is missing or wrong is named, with what it should hold', () => {
  const environment = { ARCHITECT_LISTEN: 'here', GITHUB_PRIVATE_KEY_FILE: '/key' };
  expect(() => readConfig(environment)).toThrow(
    /ARCHITECT_LISTEN: wants HOST:PORT\n {2}GITHUB_APP_ID: is not set\n {2}GITHUB_WEBHOOK_SECRET_FILE: is not set\n/,
  );
});

test.each([
  ['ARCHITECT_LISTEN', '127.0.0.1:65536', 'wants a port up to 65535'],
  ['ARCHITECT_LOCAL_HOST_SIZE', '0cpu-8gb', 'wants for example 4cpu-8gb'],
  ['ARCHITECT_FLEET', 'My Fleet', 'wants 1 to 12 small letters and digits'],
])('%s is not %s', (name, value, why) => {
  expect(() => readConfig({ [name]: value })).toThrow(`${name}: ${why}`);
});

test('a secret that is empty is none', () => {
  const dir = mkdtempSync(join(tmpdir(), 'architect-config-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const [key, secret] = [join(dir, 'key'), join(dir, 'secret')];
  writeFileSync(key, 'a key');
  writeFileSync(secret, '\n');
  const environment = {
    ...{ GITHUB_APP_ID: '1', GITHUB_PRIVATE_KEY_FILE: key, GITHUB_WEBHOOK_SECRET_FILE: secret },
  };
  expect(() => readConfig(environment)).toThrow(`${secret} is empty`);
});
