/** Every answer of the simulated GitHub is one that GitHub's own API description allows. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ENTERPRISE } from '../../fixtures/enterprise.ts';
import { GitHubFixture, KEYS, until } from './fixture.ts';
import { checkAnswer } from './openapi.ts';

const SHA = 'a'.repeat(40);
const WORKFLOW = `
on: push
jobs:
  build:
    runs-on: architect
    steps:
      - run: "true"
`;
const ORG = '/orgs/{org}/actions/runners';
const REPO = '/repos/{owner}/{repo}/actions';
const INC = '/enterprises/{enterprise}/actions/runners';
const place = { org: 'acme', owner: 'acme', repo: 'widgets', enterprise: 'acme-inc' };
const enterprise = { ...ENTERPRISE, chosen: ['acme'] };

let fixture: GitHubFixture;

beforeAll(async () => {
  const permissions = {
    organization_self_hosted_runners: 'write',
    administration: 'write',
    actions: 'write',
    checks: 'write',
    metadata: 'read',
  } as const;
  fixture = await GitHubFixture.start({ permissions, enterprise });
});
afterAll(async () => {
  await fixture.close();
});

const Failed = z.object({
  status: z.number(),
  response: z.object({ data: z.unknown(), headers: z.record(z.string(), z.unknown()) }),
});

type Parameters = Readonly<Record<string, unknown>>;

/** Calls through the real client and checks the answer, a refusal too. */
type Who = 'app' | 'installation' | 'token';

function as(who: Who) {
  if (who === 'token') return fixture.withToken(enterprise.token);
  return who === 'app' ? fixture.asApp() : fixture.asInstallation();
}

async function call(who: Who, route: string, parameters: Parameters = {}) {
  const octokit = as(who);
  const [method = '', path = ''] = route.split(' ');
  const answer = await octokit.request(route, { ...place, ...parameters }).catch((error) => {
    const { status, response } = Failed.parse(error);
    return { status, ...response };
  });
  checkAnswer({ method, path, status: answer.status }, answer.data ?? '');
  expect(answer.headers).toMatchObject({ 'x-ratelimit-resource': 'core' });
  return { status: answer.status, data: answer.data, headers: answer.headers };
}

const WithId = z.object({ id: z.int() });
const Minted = z.object({ runner: WithId, encoded_jit_config: z.base64() });

describe('the app', () => {
  it.each([
    'GET /app',
    'GET /app/hook/config',
    'GET /app/installations',
    'GET /app/installations/{installation_id}',
    'GET /orgs/{org}/installation',
    'GET /repos/{owner}/{repo}/installation',
  ])('answers %s', async (route) => {
    expect(await call('app', route, { installation_id: 1 })).toMatchObject({ status: 200 });
  });

  it('creates access tokens, narrowed when asked', async () => {
    const route = 'POST /app/installations/{installation_id}/access_tokens';
    const narrow = { permissions: { actions: 'read' }, repositories: ['widgets'] };
    const made = await call('app', route, { installation_id: 1, ...narrow });
    expect(made).toMatchObject({ status: 201, data: { permissions: { actions: 'read' } } });
    const more = { installation_id: 1, permissions: { contents: 'write' } };
    expect(await call('app', route, more)).toMatchObject({ status: 422 });
    expect(await call('app', route, { installation_id: 99 })).toMatchObject({ status: 404 });
  });

  it('lists what its installation sees', async () => {
    const { data } = await call('installation', 'GET /installation/repositories');
    expect(data).toMatchObject({ total_count: 1, repositories: [{ full_name: 'acme/widgets' }] });
    await call('installation', 'GET /repos/{owner}/{repo}');
    await call('installation', 'GET /orgs/{org}/actions/runner-groups');
  });
});

describe('a token that is not good', () => {
  it('is answered 401 when another key signed it', async () => {
    const { generateKeyPairSync } = await import('node:crypto');
    const { privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    expect(privateKey).not.toBe(KEYS.privateKey);
    await expect(fixture.asApp(privateKey).rest.apps.getAuthenticated()).rejects.toMatchObject({
      status: 401,
    });
  });

  it.each(['', 'Bearer', 'Bearer nonsense', 'Bearer a.b.c', 'token ghs_unknown'])(
    'is answered 401: %s',
    async (authorization) => {
      for (const path of ['/app', '/installation/repositories']) {
        const answer = await fetch(`${fixture.github.url}${path}`, { headers: { authorization } });
        expect(answer.status).toBe(401);
        expect(await answer.json()).toMatchObject({ documentation_url: expect.any(String) });
      }
    },
  );
});

describe.each([
  ['installation', ORG],
  ['installation', `${REPO}/runners`],
  ['token', INC],
] as const)('to the %s, runners at %s', (who, base) => {
  const labels = ['Architect', 'x64'];
  const jit = { name: 'twice', runner_group_id: 1, labels };
  const nowhere = { org: 'nobody', owner: 'nobody', enterprise: 'nobody' };

  it('are minted once per name, listed in pages, shown and deleted', async () => {
    const minted = await call(who, `POST ${base}/generate-jitconfig`, jit);
    expect(minted.status).toBe(201);
    const again = await call(who, `POST ${base}/generate-jitconfig`, jit);
    expect(again.status).toBe(409);
    const other = { ...jit, name: 'other' };
    await call(who, `POST ${base}/generate-jitconfig`, other);
    const page = await call(who, `GET ${base}`, { per_page: 1 });
    expect(page.data).toMatchObject({ total_count: 2, runners: [{ name: 'twice' }] });
    expect(page.headers).toMatchObject({ link: expect.stringContaining('rel="next"') });
    const runner_id = Minted.parse(minted.data).runner.id;
    const one = await call(who, `GET ${base}/{runner_id}`, { runner_id });
    expect(one.data).toMatchObject({ status: 'offline', busy: false, labels: [{}, {}] });
    const gone = await call(who, `DELETE ${base}/{runner_id}`, { runner_id });
    expect(gone.status).toBe(204);
  });

  it.each([
    [422, { ...jit, name: 'none', labels: [] }],
    [422, { ...jit, name: 'many', labels: Array.from({ length: 101 }, (_, i) => `l${i}`) }],
    [422, { name: 'no group', labels }],
    [404, { ...jit, name: 'elsewhere', ...nowhere }],
  ])('are refused with %i: %j', async (status, parameters) => {
    const answer = await call(who, `POST ${base}/generate-jitconfig`, parameters);
    expect(answer.status).toBe(status);
  });
});

describe('an enterprise', () => {
  it('shows its runner groups, and who may use them', async () => {
    const groups = 'GET /enterprises/{enterprise}/actions/runner-groups';
    const { data } = await call('token', groups);
    expect(data).toMatchObject({ runner_groups: [{ id: 1, visibility: 'selected' }] });
    const users = await call('token', `${groups}/{runner_group_id}/organizations`, {
      runner_group_id: 1,
    });
    expect(users.data).toMatchObject({ organizations: [{ login: 'acme' }] });
  });

  it('names the scopes of its token, and lets no App in', async () => {
    const { headers } = await call('token', `GET ${INC}`);
    expect(headers).toMatchObject({ 'x-oauth-scopes': 'manage_runners:enterprise' });
    for (const octokit of [fixture.asInstallation(), fixture.withToken('ghp_another')]) {
      const asked = octokit.request(`GET ${INC}`, { enterprise: enterprise.slug });
      await expect(asked).rejects.toMatchObject({ status: expect.toBeOneOf([401, 403]) });
    }
  });

  it('gives its runner a job of its organisation', async () => {
    const run = fixture.push(WORKFLOW.replace('architect', 'shared'));
    const jit = { name: 'shared', runner_group_id: 1, labels: ['shared'] };
    const minted = await call('token', `POST ${INC}/generate-jitconfig`, jit);
    await fixture.startRunner(Minted.parse(minted.data).encoded_jit_config);
    expect(run.jobs[0]).toMatchObject({ conclusion: 'success', runner: { name: 'shared' } });
  });
});

describe('runs, jobs and checks', () => {
  it('are shown, cancelled and run again', async () => {
    const run_id = fixture.push(WORKFLOW).id;
    const queued = await call('installation', `GET ${REPO}/runs`, { status: 'queued' });
    expect(queued.data).toMatchObject({ total_count: 1, workflow_runs: [{ id: run_id }] });
    await call('installation', `GET ${REPO}/runs/{run_id}`, { run_id });
    const jobs = await call('installation', `GET ${REPO}/runs/{run_id}/jobs`, { run_id });
    const { jobs: listed } = z.object({ jobs: z.array(WithId) }).parse(jobs.data);
    const job_id = listed[0]?.id;
    const job = await call('installation', `GET ${REPO}/jobs/{job_id}`, { job_id });
    expect(job.data).toMatchObject({ status: 'queued', runner_id: null, labels: ['architect'] });
    const cancel = `POST ${REPO}/runs/{run_id}/cancel`;
    expect(await call('installation', cancel, { run_id })).toMatchObject({ status: 202 });
    expect(await call('installation', cancel, { run_id })).toMatchObject({ status: 409 });
    const rerun = await call('installation', `POST ${REPO}/runs/{run_id}/rerun`, { run_id });
    expect(rerun.status).toBe(201);
    const after = await call('installation', `GET ${REPO}/runs/{run_id}`, { run_id });
    expect(after.data).toMatchObject({ run_attempt: 2, status: 'queued', conclusion: null });
  });

  it('are run again one by one, or all that failed, but not while the run goes on', async () => {
    const run = fixture.push(
      `${WORKFLOW}  more:\n    runs-on: architect\n    steps: [{ run: ok }]\n`,
    );
    const { jobs } = fixture.github.simulation;
    const [first, second] = run.jobs;
    if (first === undefined || second === undefined) throw new Error('two jobs are wanted');
    jobs.complete(first, 'failure');
    const again = `POST ${REPO}/jobs/{job_id}/rerun`;
    const failed = `POST ${REPO}/runs/{run_id}/rerun-failed-jobs`;
    const parameters = { job_id: first.id, run_id: run.id };
    const octokit = fixture.asInstallation();
    const early = octokit.request(again, { ...place, ...parameters });
    await expect(early).rejects.toMatchObject({ status: 403 });
    jobs.complete(second, 'success');
    expect(await call('installation', again, parameters)).toMatchObject({ status: 201 });
    const third = run.jobs.at(-1);
    if (third !== undefined) jobs.complete(third, 'failure');
    expect(await call('installation', failed, parameters)).toMatchObject({ status: 201 });
    expect(run.jobs.map(({ attempt, plan }) => [attempt, plan.key])).toEqual([
      [1, 'build'],
      [1, 'more'],
      [2, 'build'],
      [3, 'build'],
    ]);
  });

  it('show a job as it ends on a runner, which then is gone', async () => {
    const run = fixture.push(WORKFLOW.replace('architect', 'ran'));
    const { exitCode } = await fixture.startRunner(await fixture.mint('runs-it', ['RAN', 'more']));
    expect(exitCode).toBe(0);
    const job_id = run.jobs[0]?.id;
    const job = await call('installation', `GET ${REPO}/jobs/{job_id}`, { job_id });
    expect(job.data).toMatchObject({ conclusion: 'success', runner_name: 'runs-it' });
    const left = await call('installation', `GET ${ORG}`, { name: 'runs-it' });
    expect(left.data).toMatchObject({ total_count: 0 });
  });

  it('does not let a busy runner be deleted', async () => {
    const run = fixture.push(WORKFLOW.replace('architect', 'busy').replace('"true"', 'sleep 600'));
    const runner = fixture.startRunner(await fixture.mint('busy', ['busy']));
    const job = run.jobs[0];
    await until('the job runs', () => job?.firstStepAtMs);
    const parameters = { runner_id: job?.runner?.id };
    const deleted = await call('installation', `DELETE ${ORG}/{runner_id}`, parameters);
    expect(deleted.status).toBe(422);
    runner.kill('SIGTERM');
    await runner;
    expect(job?.conclusion).toBe('cancelled');
  });

  it('start from a workflow that may be dispatched', async () => {
    const { world } = fixture.github.simulation;
    const yaml = WORKFLOW.replace('on: push', 'on: [push, workflow_dispatch]');
    const repository = world.repository('acme', 'widgets');
    repository.files = new Map([
      ['.github/workflows/smoke.yml', yaml],
      ['.github/workflows/push.yml', WORKFLOW],
    ]);
    const base = `${REPO}/workflows/{workflow_id}`;
    const smoke = { workflow_id: 'smoke.yml', ref: 'main' };
    const shown = await call('installation', `GET ${base}`, smoke);
    expect(shown.data).toMatchObject({ state: 'active', path: '.github/workflows/smoke.yml' });
    const { id } = WithId.parse(shown.data);
    const byId = await call('installation', `GET ${base}`, { workflow_id: id });
    expect(byId.data).toEqual(shown.data);
    const absent = { workflow_id: 'none.yml', ref: 'main' };
    const octokit = fixture.asInstallation();
    const fails = (route: string, parameters: Parameters) =>
      expect(octokit.request(route, { ...place, ...parameters })).rejects;
    await fails(`GET ${base}`, absent).toMatchObject({ status: 404 });
    const dispatch = `POST ${base}/dispatches`;
    expect(await call('installation', dispatch, smoke)).toMatchObject({ status: 204 });
    const told = await call('installation', dispatch, { ...smoke, return_run_details: true });
    const { workflow_run_id: run_id } = z.object({ workflow_run_id: z.int() }).parse(told.data);
    const run = await call('installation', `GET ${REPO}/runs/{run_id}`, { run_id });
    expect(run.data).toMatchObject({ event: 'workflow_dispatch', workflow_id: id });
    const listed = await call('installation', `GET ${base}/runs`, {
      ...{ workflow_id: 'smoke.yml', event: 'workflow_dispatch', per_page: 1 },
    });
    expect(listed.data).toMatchObject({ total_count: 2, workflow_runs: [{ id: run_id }] });
    await fails(dispatch, absent).toMatchObject({ status: 404 });
    for (const wrong of [
      { workflow_id: 'push.yml' },
      { ref: 'nowhere' },
      { ref: '' },
      { inputs: { surprise: 1 } },
    ])
      await fails(dispatch, { ...smoke, ...wrong }).toMatchObject({ status: 422 });
    const [installation] = world.installations.values();
    if (installation === undefined) throw new Error('the fake has one');
    installation.permissions = { ...installation.permissions, actions: 'read' };
    const less = fixture.asInstallation().request(dispatch, { ...place, ...smoke });
    await expect(less).rejects.toMatchObject({ status: 403 });
    installation.permissions = { ...installation.permissions, actions: 'write' };
  });

  it('takes checks', async () => {
    const output = { title: 'Refused', summary: 'The label is not allowed.' };
    const check = { name: 'architect', head_sha: SHA, conclusion: 'failure', output };
    const route = 'POST /repos/{owner}/{repo}/check-runs';
    expect(await call('installation', route, check)).toMatchObject({ status: 201 });
    const list = 'GET /repos/{owner}/{repo}/commits/{ref}/check-runs';
    const listed = await call('installation', list, { ref: SHA, check_name: 'architect' });
    expect(listed.data).toMatchObject({ total_count: 1, check_runs: [{ output }] });
  });
});

it('registers an App from a manifest, which GitHub gives a key and a secret', async () => {
  const sim = await GitHubFixture.start();
  try {
    const manifest = {
      ...{ name: 'another', url: 'https://a.example', redirect_url: 'http://127.0.0.1:1/back' },
      hook_attributes: { url: 'https://a.example/hook' },
      default_permissions: { metadata: 'read' },
    };
    const page = await fetch(`${sim.github.url}/organizations/acme/settings/apps/new?state=s`, {
      method: 'POST',
      redirect: 'manual',
      body: new URLSearchParams({ manifest: JSON.stringify(manifest) }),
    });
    const back = new URL(page.headers.get('location') ?? '');
    expect(back.searchParams.get('state')).toBe('s');
    const path = '/app-manifests/{code}/conversions';
    const exchange = () =>
      fetch(`${sim.github.url}/app-manifests/${back.searchParams.get('code')}/conversions`, {
        method: 'POST',
      });
    const answer = await exchange();
    expect(answer.status).toBe(201);
    checkAnswer({ method: 'POST', path, status: 201 }, await answer.json());
    const again = await exchange();
    expect(again.status).toBe(404);
    checkAnswer({ method: 'POST', path, status: 404 }, await again.json());
  } finally {
    await sim.close();
  }
});
