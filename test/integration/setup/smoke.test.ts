/**
 * `architect doctor --smoke` against a control plane that has no host, so that what takes the job,
 * where something does, is the stand-in as a plain process under the name of a VM's runner.
 */
import { on } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { SMOKE_PATH, SMOKE_WORKFLOW } from '../../../app/cli/doctor/smoke-workflow.ts';
import { readConfig } from '../../../app/config.ts';
import { startControlPlane } from '../../../app/main.ts';
import {
  APP_ID,
  GitHubFixture,
  KEYS,
  until,
  WEBHOOK_SECRET,
} from '../../contract/github/fixture.ts';
import type { Repository, Run } from '../../fakes/github/model.ts';
import { POOL } from '../../fixtures/protocol.ts';
import { freePort } from './free-port.ts';
import { type CliRun, runCli } from './run-cli.ts';

const PLACE = 'acme/widgets';
const PATIENT = ['--within', '60'];

let dir: string;
let fixture: GitHubFixture;
let environment: NodeJS.ProcessEnv;
let controlPlane: Awaited<ReturnType<typeof startControlPlane>>;
let runners = 0;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ar-smoke-'));
  const port = await freePort();
  const webhookUrl = `http://127.0.0.1:${port}/api/github/webhooks`;
  fixture = await GitHubFixture.start({ webhookUrl });
  writeFileSync(join(dir, 'key'), KEYS.privateKey, { mode: 0o600 });
  writeFileSync(join(dir, 'secret'), WEBHOOK_SECRET, { mode: 0o600 });
  const github = {
    ...{ apiUrl: fixture.github.url, appId: APP_ID },
    ...{ privateKeyFile: join(dir, 'key'), webhookSecretFile: join(dir, 'secret') },
  };
  const agents = { url: 'https://127.0.0.1:3443', listen: `127.0.0.1:${await freePort()}` };
  const settings = { home: join(dir, 'home'), provider: 'static', github, agents };
  writeFileSync(
    join(dir, 'architect.yaml'),
    stringify({ ...settings, listen: `127.0.0.1:${port}`, logLevel: 'silent' }),
  );
  const pools = join(dir, 'home', 'artifacts', 'pools');
  mkdirSync(pools, { recursive: true });
  writeFileSync(join(pools, 'full-x64-tcg-qemu64.json'), JSON.stringify(POOL));
  environment = { PATH: process.env.PATH ?? '', ARCHITECT_CONFIG: join(dir, 'architect.yaml') };
  controlPlane = await startControlPlane(readConfig(environment));
});
afterAll(async () => {
  await controlPlane.close();
  await fixture.close();
  rmSync(dir, { recursive: true, force: true });
});

beforeEach(() => {
  repository().files = new Map([[SMOKE_PATH, SMOKE_WORKFLOW]]);
  grant('write');
});

function repository(): Repository {
  return fixture.github.simulation.world.repository('acme', 'widgets');
}

function grant(actions: 'read' | 'write'): void {
  const [installation] = fixture.github.simulation.world.installations.values();
  if (installation === undefined) throw new Error('the fake has one');
  installation.permissions = { ...installation.permissions, actions };
}

function smoke(...options: readonly string[]): CliRun {
  return runCli(['doctor', '--smoke', PLACE, ...options], environment);
}

/** Runs the job of the next run that begins. */
async function takeNextJob(name?: string): Promise<Run> {
  const { runs } = fixture.github.simulation.world;
  const before = new Set(runs.keys());
  const run = await until('a run begins', () =>
    [...runs.values()].find(({ id }) => !before.has(id)),
  );
  const labels = run.jobs[0]?.plan.labels ?? [];
  runners += 1;
  await fixture.startRunner(await fixture.mint(name ?? `architect-vm-${runners}`, labels));
  return run;
}

it('dispatches the workflow, follows its job, and tells when each phase was reached', async () => {
  const taken = takeNextJob();
  const run = smoke('--json', ...PATIENT);
  expect(await run.exit, run.errors() + run.written()).toBe(0);
  const { id, event, path, jobs } = await taken;
  expect([event, path]).toEqual(['workflow_dispatch', SMOKE_PATH]);
  const { smoke: report } = JSON.parse(run.written());
  expect(report).toMatchObject({ repository: PLACE, outcome: 'green', why: null, run: { id } });
  expect(report.jobId).toBe(String(jobs[0]?.id));
  const phases: { readonly phase: string; readonly atMs: number }[] = report.phases;
  expect(phases.map(({ phase }) => phase)).toEqual(
    expect.arrayContaining(['dispatched', 'seen by the control plane', 'running', 'done']),
  );
  expect(phases.map(({ atMs }) => atMs)).toEqual(phases.map(({ atMs }) => atMs).toSorted());
});

it('waits for the button where the App may not start workflows', async () => {
  grant('read');
  const run = smoke(...PATIENT);
  await until('it asks for the button', () =>
    /Press "Run workflow" on https:\S+\/acme\/widgets\/actions\/workflows\/architect-smoke\.yml/.test(
      run.progress(),
    ),
  );
  const taken = takeNextJob();
  fixture.github.simulation.dispatch(repository(), SMOKE_PATH);
  expect(await run.exit, run.errors() + run.written()).toBe(0);
  await taken;
  expect(run.written()).toContain('A job of acme/widgets ran on Architect.');
  expect(run.written()).toMatch(/^dispatched +\+0\.0 s$/m);
});

it('says which file is missing, with its text and where to add it', async () => {
  repository().files = new Map();
  const run = smoke();
  expect(await run.exit).toBe(1);
  expect(run.written()).toContain('It has no .github/workflows/architect-smoke.yml.');
  expect(run.written()).toContain(SMOKE_WORKFLOW);
  expect(run.written()).toContain(
    'https://github.com/acme/widgets/new/main?filename=.github%2Fworkflows%2Farchitect-smoke.yml',
  );
  expect(fixture.github.simulation.world.runs.size).toBe(2);
});

it('names what the job waits for when no runner picks it up', async () => {
  const run = smoke('--within', '4');
  expect(await run.exit).toBe(1);
  expect(run.written()).toMatch(/failed: After 4 s: It waits \(no-host\): .*none is connected/);
  expect(run.written()).toMatch(/→ Run: architect doctor; architect job \d+ says more/);
});

it('says that another runner took it', async () => {
  const taken = takeNextJob('someone-elses');
  const run = smoke(...PATIENT);
  expect(await run.exit).toBe(1);
  await taken;
  expect(run.written()).toContain('The runner someone-elses ran it');
});

it('leaves the job alone when it is stopped by Ctrl-C', async () => {
  const cli = join(import.meta.dirname, '../../../app/cli/architect.ts');
  const args = [cli, 'doctor', '--smoke', PLACE];
  const child = execa(process.execPath, args, { env: environment, all: true, reject: false });
  for await (const [text] of on(child.all, 'data', { close: ['end'] }))
    if (String(text).includes('run https:')) child.kill('SIGINT');
  const { exitCode, all } = await child;
  expect(exitCode).toBe(1);
  expect(all).toMatch(/Stopped\. The job goes on: https:\S+$/);
  const run = [...fixture.github.simulation.world.runs.values()].at(-1);
  expect(run?.jobs.map(({ status }) => status)).toEqual(['queued']);
});

it('says that the App is not installed there', async () => {
  const run = runCli(['doctor', '--smoke', 'nobody/nothing', '--json'], environment);
  expect(await run.exit).toBe(1);
  expect(JSON.parse(run.written()).smoke).toMatchObject({
    outcome: 'failed',
    why: expect.stringContaining('not installed there'),
    run: null,
  });
});

it('dispatches nothing while the control plane is away', async () => {
  const before = fixture.github.simulation.world.runs.size;
  const elsewhere = { ...environment, ARCHITECT_FLEET: 'other' };
  const run = runCli(['doctor', '--smoke', PLACE], elsewhere);
  expect(await run.exit).toBe(1);
  expect(run.written()).toMatch(/does not answer[\s\S]*→ architect start/);
  expect(fixture.github.simulation.world.runs.size).toBe(before);
});

it.each([
  ['--smoke', 'widgets'],
  ['--smoke', 'acme/widgets/more'],
  ['--smoke', PLACE, '--within', '0'],
])('takes no %j %j', async (...options) => {
  expect(await runCli(['doctor', ...options], environment).exit).toBe(2);
});
