/** The guided install against the simulated GitHub, as an Enterprise Server: by click, and by code. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { readConfig } from '../../../app/config.ts';
import { createGithubClient } from '../../../app/github/client.ts';
import { createLogger } from '../../../app/log.ts';
import { KEYS } from '../../contract/github/fixture.ts';
import { type SimulatedGitHub, startSimulatedGitHub } from '../../fakes/github/simulated-github.ts';
import { runCli } from './run-cli.ts';

const PUBLIC_URL = 'https://architect.acme.example';
let github: SimulatedGitHub;
let dir: string;

beforeAll(async () => {
  github = await startSimulatedGitHub({
    ...{ appId: 1, appPublicKey: KEYS.publicKey, webhookSecret: 'old', controlToken: 'control' },
    restPath: '/api/v3',
  });
});
afterAll(() => github.close());
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'architect-setup-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
});

const configFile = () => join(dir, 'etc', 'architect.yaml');
const common = (name: string) => [
  ...['setup', '--organization', 'acme', '--url', PUBLIC_URL, '--github', github.url],
  ...['--name', name, '--config', configFile(), '--page-listen', '127.0.0.1:0', '--json'],
];

/** What a browser does on the page: it posts the form that is there. */
async function press(page: string): Promise<{ readonly location: string; readonly form: string }> {
  const form = await (await fetch(page)).text();
  const text = (name: string) => new RegExp(`${name}="([^"]*)"`).exec(form)?.[1] ?? '';
  const plain = (html: string) => html.replaceAll('&quot;', '"').replaceAll('&amp;', '&');
  const answer = await fetch(plain(text('action')), {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams({ manifest: plain(text('value')) }),
  });
  return { location: answer.headers.get('location') ?? '', form };
}

async function pageOf(run: ReturnType<typeof runCli>): Promise<string> {
  await expect.poll(() => run.progress()).toContain('http://');
  return /http:\/\/\S+/.exec(run.progress())?.[0] ?? '';
}

test('one click registers an App with the least permissions and leaves a usable set-up', async () => {
  const run = runCli([...common('architect-acme'), '--rerun-lost', '--provider', 'local']);
  const page = await pageOf(run);
  const { location } = await press(page);
  const back = await fetch(location, { redirect: 'manual' });
  expect(await run.exit).toBe(0);
  const done = JSON.parse(run.written());
  expect(back.headers.get('location')).toBe(done.installUrl);
  expect(github.simulation.world.app).toMatchObject({
    id: done.appId,
    permissions: {
      organization_self_hosted_runners: 'write',
      actions: 'write',
      metadata: 'read',
    },
  });
  expect(Object.keys(github.simulation.world.app.permissions)).toHaveLength(3);
  expect(github.simulation.webhooks.url).toBe(`${PUBLIC_URL}/api/github/webhooks`);
  for (const name of ['architect.yaml', 'app-key.pem', 'webhook-secret'])
    expect(statSync(join(dir, 'etc', name)).mode & 0o777).toBe(0o600);
  const config = readConfig({ ARCHITECT_CONFIG: configFile() });
  expect(config).toMatchObject({
    rerunLost: true,
    github: {
      apiUrl: `${github.url}/api/v3`,
      appId: done.appId,
      webhookSecret: github.simulation.world.app.webhookSecret,
    },
  });
  const client = createGithubClient({ github: config.github, logger: createLogger(config) });
  const app = await client.asApp({
    what: 'read',
    run: (octokit) => octokit.rest.apps.getAuthenticated(),
  });
  expect(app.data?.id).toBe(done.appId);
  expect(run.written() + run.progress()).not.toContain('PRIVATE KEY');
  expect(readFileSync(configFile(), 'utf8')).not.toContain(config.github.webhookSecret);
});

test('a code from elsewhere will do, once', async () => {
  const run = runCli(common('architect-code'));
  const page = await pageOf(run);
  const { location } = await press(page);
  const code = new URL(location).searchParams.get('code') ?? '';
  // Another's answer is not taken, and the page still waits for its own.
  const strange = await fetch(location.replace(/state=[^&]*/, 'state=x'), { redirect: 'manual' });
  expect(strange.status).toBe(404);
  const other = join(dir, 'other', 'architect.yaml');
  const byCode = (config: string) =>
    runCli([...common('x').map((a) => (a === configFile() ? config : a)), '--code', code]);
  const first = byCode(other);
  expect(await first.exit).toBe(0);
  expect(existsSync(other)).toBe(true);
  const second = byCode(join(dir, 'third', 'architect.yaml'));
  expect(await second.exit).toBe(1);
  expect(second.errors()).toMatch(/does not know the code: it is good once/);
  expect(existsSync(join(dir, 'third', 'architect.yaml'))).toBe(false);
  const shown = await fetch(location, { redirect: 'manual' });
  expect(shown.status).toBe(502);
  expect(await run.exit).toBe(1);
});

test('nothing is registered where the files could not be kept', async () => {
  const before = github.simulation.world.app;
  writeFileSync(join(dir, 'etc'), 'a file where the folder should be');
  const run = runCli(common('architect-nowhere'));
  expect(await run.exit).toBe(1);
  expect(run.errors()).toMatch(/Cannot write to .*--config/);
  rmSync(join(dir, 'etc'));
  const taken = join(dir, 'app-key.pem');
  writeFileSync(taken, 'the key of an App');
  const again = runCli([...common('a'), '--code', 'x', '--config', join(dir, 'architect.yaml')]);
  expect(await again.exit).toBe(1);
  expect(again.errors()).toMatch(/app-key.pem is there already.*--force/);
  expect(readFileSync(taken, 'utf8')).toBe('the key of an App');
  expect(github.simulation.world.app).toBe(before);
});

test('it says what it wants', async () => {
  const run = runCli(['setup', '--url', 'architect.example.com']);
  expect(await run.exit).toBe(2);
  expect(run.errors()).toContain('Wants a URL');
});
