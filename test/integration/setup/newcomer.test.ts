/** The README's install in its order, without hosts: register, install, start, and let the doctor look. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Finding } from '../../../app/cli/doctor/finding.ts';
import { readConfig } from '../../../app/config.ts';
import { startControlPlane } from '../../../app/main.ts';
import { CONTROL_TOKEN, KEYS } from '../../contract/github/fixture.ts';
import { type SimulatedGitHub, startSimulatedGitHub } from '../../fakes/github/simulated-github.ts';
import { POOL } from '../../fixtures/protocol.ts';
import { freePort } from './free-port.ts';
import { runCli } from './run-cli.ts';

async function enterpriseServer(): Promise<SimulatedGitHub> {
  const old = { appId: 1, appPublicKey: KEYS.publicKey, webhookSecret: 'old' };
  const given = { ...old, controlToken: CONTROL_TOKEN, restPath: '/api/v3' };
  const github = await startSimulatedGitHub(given);
  onTestFinished(() => github.close());
  return github;
}

/** The click on GitHub's page, in a browser that does not reach this machine's page. */
async function codeOf(github: SimulatedGitHub, webhookUrl: string): Promise<string> {
  const manifest = {
    ...{ name: 'architect-acme', url: webhookUrl, redirect_url: 'http://elsewhere.example/' },
    hook_attributes: { url: `${webhookUrl}/api/github/webhooks` },
    default_events: ['workflow_job'],
    default_permissions: {
      ...{ metadata: 'read', actions: 'read', organization_self_hosted_runners: 'write' },
    },
  };
  const answer = await fetch(`${github.url}/organizations/acme/settings/apps/new`, {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams({ manifest: JSON.stringify(manifest) }),
  });
  return new URL(answer.headers.get('location') ?? '').searchParams.get('code') ?? '';
}

test('a newcomer gets from nothing to a control plane that lacks only a host', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'ar-new-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const github = await enterpriseServer();
  const publicUrl = `http://127.0.0.1:${await freePort()}`;
  const configFile = join(dir, 'etc', 'architect.yaml');
  const setup = runCli([
    ...['setup', '--organization', 'acme', '--url', publicUrl, '--github', github.url],
    ...['--provider', 'static', '--agents-url', 'https://127.0.0.1:3443', '--json'],
    ...['--config', configFile, '--code', await codeOf(github, publicUrl)],
  ]);
  expect(await setup.exit, setup.errors()).toBe(0);

  const { world, webhooks } = github.simulation;
  const installation = world.addInstallation(world.account('acme'), world.app.permissions);
  github.simulation.announceInstallation(installation, 'created');
  await expect.poll(() => webhooks.list()[0]?.statusCode).toBe(502);

  const pools = join(dir, 'home', 'artifacts', 'pools');
  mkdirSync(pools, { recursive: true });
  writeFileSync(join(pools, 'full-x64-tcg-qemu64.json'), JSON.stringify(POOL));
  const environment = {
    ...{ PATH: process.env.PATH ?? '', ARCHITECT_CONFIG: configFile },
    ...{ ARCHITECT_HOME: join(dir, 'home'), ARCHITECT_LOG_LEVEL: 'silent' },
    ARCHITECT_LISTEN: new URL(publicUrl).host,
    ARCHITECT_AGENTS_LISTEN: `127.0.0.1:${await freePort()}`,
  };
  const controlPlane = await startControlPlane(readConfig(environment));
  onTestFinished(() => controlPlane.close());

  const doctor = runCli(['doctor', '--json'], environment);
  expect(await doctor.exit).toBe(1);
  const { findings }: { readonly findings: readonly Finding[] } = JSON.parse(doctor.written());
  const failures = findings.filter(({ state }) => state === 'failed');
  expect(failures.map(({ check, what }) => `${check}: ${what}`)).toEqual([
    'hosts: No host is connected and admitted, so no job can run.',
  ]);
  expect(findings).toContainEqual(expect.objectContaining({ check: 'webhooks', state: 'ok' }));
});
