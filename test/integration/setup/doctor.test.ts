/** Deliberately broken set-ups, each of which the doctor has to find, with what to do. */
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { execa } from 'execa';
import { expect, onTestFinished, test } from 'vitest';
import { type ExamineGiven, examine } from '../../../app/cli/doctor/examine.ts';
import type { Finding } from '../../../app/cli/doctor/finding.ts';
import { OTHER_APP } from '../../contract/github/fixture.ts';
import { ENTERPRISE } from '../../fixtures/enterprise.ts';
import { runCli } from './run-cli.ts';
import { hostView, type SoundSetup, startSoundSetup } from './sound-setup.ts';

async function soundSetup(): Promise<SoundSetup> {
  const setup = await startSoundSetup();
  onTestFinished(() => setup.close());
  return setup;
}

type Given = Partial<ExamineGiven>;

async function findingsOf(setup: SoundSetup, over: Given = {}): Promise<readonly Finding[]> {
  return await examine({
    environment: setup.environment,
    now: Date.now,
    kvmDevice: '/dev/null',
    ...over,
  });
}

test('it finds nothing in a sound set-up, and says so to programs as well', async () => {
  const setup = await soundSetup();
  const wrong = (await findingsOf(setup)).filter(({ state }) => state !== 'ok');
  // How full the machine's disk is, is not the test's to say.
  expect(wrong.filter(({ check }) => check !== 'disk')).toEqual([]);
  const run = runCli(['doctor', '--json'], setup.environment);
  expect(await run.exit).toBe(0);
  const { findings } = JSON.parse(run.written());
  for (const check of ['configuration', 'secrets', 'disk', 'image', 'QEMU', 'Redis', 'chunk store'])
    expect(findings).toContainEqual(expect.objectContaining({ check }));
  for (const check of [
    'clock',
    'App',
    'permissions',
    'installation',
    'runner group',
    'webhooks',
    'hosts',
  ])
    expect(findings).toContainEqual(expect.objectContaining({ check, state: 'ok' }));
});

test('what has failed comes last, with what to do, and the exit code tells', async () => {
  const setup = await soundSetup();
  setup.configure({ listen: 'here' });
  const run = runCli(['doctor'], setup.environment);
  expect(await run.exit).toBe(1);
  expect(run.written()).toMatch(
    /FAILED {3}configuration: [\s\S]*architect.yaml:\d+:9 listen wants HOST:PORT[\s\S]*→/,
  );
  expect(run.errors()).toContain('1 of 1 checks failed');
});

/** Settings of a set-up whose runners are registered with the enterprise. */
function withEnterprise(setup: SoundSetup, over: Readonly<Record<string, unknown>> = {}) {
  const { slug, organizations } = ENTERPRISE;
  const enterprise = { slug, organizations, tokenFile: setup.path('token'), ...over };
  setup.configure({ github: { ...Object(setup.settings.github), enterprise } });
}

test('it finds nothing wrong with a sound enterprise, whose organisations have no group to ask for', async () => {
  const setup = await soundSetup();
  withEnterprise(setup);
  const findings = await findingsOf(setup);
  expect(findings.filter(({ state }) => state === 'failed')).toEqual([]);
  const what = (check: string) => findings.filter((one) => one.check === check);
  expect(what('enterprise')).toMatchObject([{ state: 'ok' }]);
  expect(what('runner group')).toMatchObject([{ what: expect.stringContaining('acme-inc') }]);
});

/** Settings of a set-up with another App beside the first. */
function withOtherApp(setup: SoundSetup, privateKeyFile: string) {
  const other = { appId: OTHER_APP.appId, privateKeyFile, webhookSecretFile: setup.path('secret') };
  setup.configure({ github: { ...Object(setup.settings.github), furtherApps: [other] } });
}

interface Broken {
  readonly name: string;
  readonly breakIt?: (setup: SoundSetup) => unknown;
  /** With what it is looked at, where that is what is broken. */
  readonly look?: (setup: SoundSetup) => Given;
  readonly finding: { readonly check: string; readonly state?: 'failed' | 'warning' };
  readonly what: RegExp;
  readonly fix: RegExp;
}

const BROKEN: readonly Broken[] = [
  {
    name: 'Redis is unreachable',
    breakIt: (setup) => setup.configure({ redis: { url: 'redis://127.0.0.1:1' } }),
    finding: { check: 'Redis' },
    what: /127\.0\.0\.1:1 cannot be used/,
    fix: /Start it, and check redis\.url/,
  },
  {
    name: 'Redis keeps nothing',
    breakIt: (setup) => setup.redis.config('SET', 'appendonly', 'no'),
    finding: { check: 'Redis' },
    what: /keeps nothing/,
    fix: /CONFIG SET appendonly yes/,
  },
  {
    name: "the key is another App's",
    breakIt: (setup) => {
      const encoding = { type: 'pkcs8', format: 'pem' } as const;
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      writeFileSync(setup.path('key'), privateKey.export(encoding));
    },
    finding: { check: 'App' },
    what: /does not take the key for App 4711/,
    fix: /make a new key/,
  },
  {
    name: 'the key file holds no key',
    breakIt: (setup) => writeFileSync(setup.path('key'), 'nonsense'),
    finding: { check: 'App' },
    what: /holds no private key/,
    fix: /download/,
  },
  {
    name: 'the App lacks a permission',
    breakIt: (setup) => {
      const { world } = setup.github.simulation;
      world.app = { ...world.app, permissions: { actions: 'read', metadata: 'read' } };
    },
    finding: { check: 'permissions' },
    what: /lacks organization_self_hosted_runners: write/,
    fix: /Permissions & events/,
  },
  {
    name: 'a feature that is switched on needs more',
    breakIt: (setup) =>
      setup.configure({ github: { ...Object(setup.settings.github), rerunLost: true } }),
    finding: { check: 'permissions' },
    what: /lacks actions: write/,
    fix: /then accept it/,
  },
  {
    name: 'a new permission was not accepted',
    breakIt: (setup) => {
      const { world } = setup.github.simulation;
      const [installation] = world.installations.values();
      if (installation === undefined) throw new Error('the fake has one');
      const permissions = { actions: 'read', metadata: 'read' } as const;
      world.installations.set(installation.id, { ...installation, permissions });
    },
    finding: { check: 'installation' },
    what: /acme has not accepted organization_self_hosted_runners: write/,
    fix: /An owner of acme/,
  },
  {
    name: 'the App is installed nowhere',
    breakIt: (setup) => setup.github.simulation.world.installations.clear(),
    finding: { check: 'installation' },
    what: /installed nowhere/,
    fix: /apps\/architect\/installations\/new/,
  },
  {
    name: 'the runner group is not there',
    breakIt: (setup) =>
      setup.configure({ github: { ...Object(setup.settings.github), runnerGroupId: 9 } }),
    finding: { check: 'runner group' },
    what: /acme has no runner group 9/,
    fix: /runnerGroupId/,
  },
  {
    name: "another App's key is not its own",
    breakIt: (setup) => withOtherApp(setup, setup.path('key')),
    finding: { check: 'App' },
    what: /does not take the key for App 4712/,
    fix: /make a new key/,
  },
  {
    name: 'another App is installed nowhere',
    breakIt: (setup) => withOtherApp(setup, setup.path('other-key')),
    finding: { check: 'installation' },
    what: /architect-4712 is installed nowhere/,
    fix: /apps\/architect-4712\/installations\/new/,
  },
  {
    name: "another App's key may be read by others",
    breakIt: (setup) => {
      chmodSync(setup.path('other-key'), 0o644);
      withOtherApp(setup, setup.path('other-key'));
    },
    finding: { check: 'secrets', state: 'warning' },
    what: /Others may read .*other-key/,
    fix: /chmod 600/,
  },
  {
    name: "the enterprise's token is none",
    breakIt: (setup) => {
      writeFileSync(setup.path('token'), 'ghp_forgotten');
      withEnterprise(setup);
    },
    finding: { check: 'enterprise' },
    what: /does not let the token see .* acme-inc \(401\)/,
    fix: /manage_runners:enterprise/,
  },
  {
    name: 'the enterprise has another name',
    breakIt: (setup) => withEnterprise(setup, { slug: 'acme' }),
    finding: { check: 'enterprise' },
    what: /the enterprise acme \(404\)/,
    fix: /github\.enterprise\.slug/,
  },
  {
    name: 'the enterprise has no such runner group',
    breakIt: (setup) => withEnterprise(setup, { runnerGroupId: 9 }),
    finding: { check: 'runner group' },
    what: /acme-inc has no runner group 9/,
    fix: /enterprise\.runnerGroupId/,
  },
  {
    name: "the enterprise's token may be read by others",
    breakIt: (setup) => {
      chmodSync(setup.path('token'), 0o644);
      withEnterprise(setup);
    },
    finding: { check: 'secrets', state: 'warning' },
    what: /Others may read .*token/,
    fix: /chmod 600/,
  },
  {
    name: "the webhook's secret is another",
    breakIt: (setup) => {
      const { world, webhooks } = setup.github.simulation;
      world.app.webhookSecret = 'another';
      const [delivery] = webhooks.list();
      if (delivery !== undefined) delivery.statusCode = 502;
    },
    finding: { check: 'webhooks' },
    what: /refused \(400\): it is signed with another secret/,
    fix: /webhookSecretFile/,
  },
  {
    name: "the webhook's URL leads nowhere",
    breakIt: (setup) => {
      const { webhooks } = setup.github.simulation;
      webhooks.url = 'http://127.0.0.1:1/api/github/webhooks';
      const [delivery] = webhooks.list();
      if (delivery !== undefined) delivery.statusCode = 502;
    },
    finding: { check: 'webhooks' },
    what: /failed \(502\): nothing answers/,
    fix: /GitHub has to reach that URL/,
  },
  {
    name: 'the clock is wrong',
    look: () => ({ now: () => Date.now() + 120_000 }),
    finding: { check: 'clock' },
    what: /1(19|2\d) s ahead of GitHub's/,
    fix: /timedatectl/,
  },
  {
    name: 'there is no hardware virtualisation',
    look: () => ({ kvmDevice: '/dev/no-kvm' }),
    finding: { check: 'accelerator', state: 'warning' },
    what: /no \/dev\/no-kvm/,
    fix: /nested virtualisation/,
  },
  {
    name: 'no QEMU is installed',
    look: (setup) => ({ environment: { ...setup.environment, PATH: setup.path('empty') } }),
    finding: { check: 'QEMU' },
    what: /No qemu-system-x86_64/,
    fix: /npm run setup/,
  },
  {
    name: 'the chunk folder cannot be written to',
    breakIt: (setup) => {
      writeFileSync(setup.path('a-file'), '');
      setup.configure({ store: { folder: setup.path('a-file', 'chunks') } });
    },
    finding: { check: 'chunk store' },
    what: /cannot be written to/,
    fix: /store\.folder/,
  },
  {
    name: 'the bucket refuses to be written to',
    breakIt: async (setup) => setup.configure({ store: await bucket(() => 403) }),
    finding: { check: 'chunk store' },
    what: /may not be written to \(403\)/,
    fix: /s3:PutObject/,
  },
  {
    name: 'the bucket ignores conditions on puts',
    breakIt: async (setup) => setup.configure({ store: await bucket(() => 200) }),
    finding: { check: 'chunk store' },
    what: /ignores conditions on puts/,
    fix: /Take a store that has them/,
  },
  {
    name: 'no host has joined',
    breakIt: (setup) => {
      setup.hosts.length = 0;
    },
    finding: { check: 'hosts' },
    what: /No host is connected/,
    fix: /log says why/,
  },
  {
    name: 'a host was turned away',
    breakIt: (setup) => {
      setup.hosts[0] = hostView({ state: 'turned-away', why: 'Its QEMU 7.2 is too old.' });
    },
    finding: { check: 'hosts' },
    what: /turned away: Its QEMU 7\.2 is too old/,
    fix: /revoke/,
  },
  {
    name: 'the image is missing',
    breakIt: (setup) => rmSync(setup.path('home', 'artifacts'), { recursive: true }),
    finding: { check: 'image' },
    what: /No template of the full image/,
    fix: /Run: ARCHITECT_HOME=\S+home ARCHITECT_IMAGE_PROFILE=full npm run setup/,
  },
  {
    name: 'the disk is full',
    breakIt: async (setup) => {
      const home = setup.path('small-disk');
      mkdirSync(home);
      await execa('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', home]);
      onTestFinished(async () => void (await execa('umount', [home])));
      setup.configure({ home });
    },
    finding: { check: 'disk' },
    what: /The disk is full: 0\.0 GiB/,
    fix: /Make room/,
  },
  {
    name: 'the control plane does not run',
    breakIt: (setup) => setup.configure({ fleet: 'other' }),
    finding: { check: 'control plane' },
    what: /does not answer/,
    fix: /architect start/,
  },
  {
    name: 'others may read a secret',
    breakIt: (setup) => chmodSync(setup.path('secret'), 0o644),
    finding: { check: 'secrets', state: 'warning' },
    what: /Others may read/,
    fix: /chmod 600/,
  },
  {
    name: 'GitHub is unreachable',
    breakIt: (setup) =>
      setup.configure({
        github: { ...Object(setup.settings.github), apiUrl: 'http://127.0.0.1:1' },
      }),
    finding: { check: 'GitHub' },
    what: /does not answer/,
    fix: /network/,
  },
];

test.each(BROKEN)('it finds that $name', async ({ breakIt, look, finding, what, fix }) => {
  const setup = await soundSetup();
  await breakIt?.(setup);
  const all = await findingsOf(setup, look?.(setup));
  const wrong = all.filter(({ state, check }) => state !== 'ok' && check !== 'disk');
  const found = (finding.check === 'disk' ? all : wrong).filter(
    ({ check }) => check === finding.check,
  );
  expect(found.map((one) => one.what).join('\n')).toMatch(what);
  expect(found.map((one) => one.fix).join('\n')).toMatch(fix);
  expect(found.map(({ state }) => state)).toContain(finding.state ?? 'failed');
});

/** An S3 endpoint that answers every request so; gone with the test. */
async function bucket(answer: () => number): Promise<Readonly<Record<string, string>>> {
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.writeHead(answer()).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const file = `/tmp/architect-doctor-keys-${port}.json`;
  writeFileSync(file, '{"accessKeyId":"a","secretAccessKey":"b"}', { mode: 0o600 });
  onTestFinished(() => rmSync(file));
  return { bucket: 'chunks', endpoint: `http://127.0.0.1:${port}`, credentialsFile: file };
}
