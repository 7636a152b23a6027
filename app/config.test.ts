import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { appsOf, readConfig } from './config.ts';
import { DEFAULT_CONFIG_FILE } from './settings/read-settings.ts';

/** This machine may have a file of its own at the usual place. */
const NO_FILE = { ARCHITECT_CONFIG: '/dev/null' };

function folderOf(files: Readonly<Record<string, string>>): string {
  const dir = mkdtempSync(join(tmpdir(), 'architect-config-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  return dir;
}

test('every variable that is missing or wrong is named, with what it should hold', () => {
  const environment = { ...NO_FILE, ARCHITECT_LISTEN: 'here', GITHUB_PRIVATE_KEY_FILE: '/key' };
  expect(() => readConfig(environment)).toThrow(
    /ARCHITECT_LISTEN: wants HOST:PORT\n.*github.appId is needed: a number \(or GITHUB_APP_ID\)\n.*\(or GITHUB_WEBHOOK_SECRET_FILE\)\n/,
  );
});

test.each([
  ['ARCHITECT_LISTEN', '127.0.0.1:65536', 'wants a port up to 65535'],
  ['ARCHITECT_LOCAL_HOST_SIZE', '0cpu-8gb', 'wants for example 4cpu-8gb'],
  ['ARCHITECT_FLEET', 'My Fleet', 'wants 1 to 12 small letters and digits'],
])('%s is not %s', (name, value, why) => {
  expect(() => readConfig({ ...NO_FILE, [name]: value })).toThrow(`${name}: ${why}`);
});

test('a secret that is empty is none', () => {
  const dir = folderOf({ key: 'a key', secret: '\n' });
  const [key, secret] = [join(dir, 'key'), join(dir, 'secret')];
  const environment = {
    ...{ GITHUB_APP_ID: '1', GITHUB_PRIVATE_KEY_FILE: key, GITHUB_WEBHOOK_SECRET_FILE: secret },
  };
  expect(() => readConfig({ ...NO_FILE, ...environment })).toThrow(`${secret} is empty`);
});

function fileOf(text: string, files: Readonly<Record<string, string>> = {}) {
  const dir = folderOf({ 'architect.yaml': text, key: 'a key', secret: 'hush', ...files });
  const path = join(dir, 'architect.yaml');
  const github = `github: { appId: 7, privateKeyFile: ${dir}/key, webhookSecretFile: ${dir}/secret`;
  writeFileSync(path, text.replace('GITHUB', github).replace('DIR', dir));
  return { dir, path, environment: { ARCHITECT_CONFIG: path } };
}

test('the file is the place, and the environment overrides it', () => {
  const { environment } = fileOf(
    `
listen: 0.0.0.0:8080
GITHUB, rerunLost: true }
redis: { urlFile: DIR/redis }
policy: { limits: { cpu: 4 } }
`,
    { redis: 'redis://:hush@10.0.0.1/0\n' },
  );
  const given = { ...environment, ARCHITECT_LISTEN: '127.0.0.1:1', ARCHITECT_RERUN_LOST: 'false' };
  expect(readConfig({ ...given, ARCHITECT_TICK_MS: '100' })).toMatchObject({
    listen: { host: '127.0.0.1', port: 1 },
    rerunLost: false,
    tickMs: 100,
    redisUrl: 'redis://:hush@10.0.0.1/0',
    policy: { limits: { cpu: 4, ram: 32 } },
    github: { appId: 7, privateKey: 'a key', webhookSecret: 'hush' },
  });
});

test.each([
  ['GITHUB }\nlistn: 127.0.0.1:1', '2:1 listn is no setting; did you mean listen?'],
  ['GITHUB }\nlocal:\n  hosts: many', '3:10 local.hosts wants a number, not the text "many"'],
  ['GITHUB }\nlocal:\n  hosts: 99', '3:10 local.hosts wants at most 50'],
  ['GITHUB }\nprovider: gcp', '2:11 provider wants local, static or ec2'],
  ['GITHUB }\nlocal: [1]', '2:8 local wants a mapping of settings, not a list'],
  [
    'github:\n  appId: 1',
    '2:3 github.privateKeyFile is needed: a text (or GITHUB_PRIVATE_KEY_FILE)',
  ],
  ['GITHUB }\nredis:\n  url: redis://:hush@h', '3:8 redis.url holds a password'],
  [
    'GITHUB }\npolicy:\n  limits: { cpus: 3 }',
    '3:13 policy.limits.cpus is no setting; did you mean cpu?',
  ],
  [
    'GITHUB }\npolicy:\n  concurrency:\n    - { match: x, maxVms: -1 }',
    '4:27 policy.concurrency.0.maxVms',
  ],
  ['GITHUB }\nlisten: a: b', '2:9 is not YAML'],
  ['GITHUB }\nfleet: one\nfleet: two', '3:1 is not YAML'],
  ['- 1', '1:1 wants settings'],
  [`a: ${'x'.repeat(300_000)}`, '1:1 is larger than 256 KiB'],
])('in %j it says %s', (text, expected) => {
  const { path, environment } = fileOf(text);
  const attempt = () => readConfig(environment);
  expect(attempt).toThrow(`${path}:${expected}`);
  expect(attempt).not.toThrow(/hush/);
});

test('a policy in a file of its own is explained with that file', () => {
  const { dir, environment } = fileOf('GITHUB }', { policy: 'limits:\n  cpu: none\n' });
  const given = { ...environment, ARCHITECT_POLICY_FILE: join(dir, 'policy') };
  expect(() => readConfig(given)).toThrow(
    `${dir}/policy:2:8 policy.limits.cpu wants a number, not the text "none"`,
  );
});

test('the token of an enterprise is read from its file', () => {
  const enterprise = 'enterprise: { slug: inc, tokenFile: DIR/token, organizations: [acme] }';
  const { environment } = fileOf(`GITHUB, ${enterprise} }`, { token: 'ghp_hush\n' });
  expect(readConfig(environment).enterprise).toEqual({
    ...{ slug: 'inc', token: 'ghp_hush', organizations: ['acme'], runnerGroupId: 1 },
  });
});

test('a secret that others may read is told', () => {
  const { dir, environment } = fileOf('GITHUB }');
  chmodSync(join(dir, 'key'), 0o600);
  chmodSync(join(dir, 'secret'), 0o640);
  expect(readConfig(environment).exposedFiles).toEqual([join(dir, 'secret')]);
});

test.skipIf(existsSync(DEFAULT_CONFIG_FILE))('without a file, what writes one is named', () => {
  expect(() => readConfig({})).toThrow(/architect.yaml: is not there; architect setup registers/);
});

test('further Apps are read beside the first, each once', () => {
  const { dir, path, environment } = fileOf('GITHUB }', { other: 'another key' });
  const files = `privateKeyFile: ${dir}/other, webhookSecretFile: ${dir}/secret`;
  const write = (appId: number) => {
    const first = `appId: 7, privateKeyFile: ${dir}/key, webhookSecretFile: ${dir}/secret`;
    writeFileSync(path, `github: { ${first},\n  furtherApps: [{ appId: ${appId}, ${files} }] }`);
  };
  write(8);
  const { github } = readConfig(environment);
  expect(appsOf(github).map(({ appId, privateKey }) => [appId, privateKey])).toEqual([
    [7, 'a key'],
    [8, 'another key'],
  ]);
  write(7);
  expect(() => readConfig(environment)).toThrow(
    `${path}:2:26 github.furtherApps.0.appId names an App that is named before`,
  );
});
