import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createGithubNotices } from '../../../app/github/checks.ts';
import { createGithubClient, type GithubClient } from '../../../app/github/client.ts';
import { createGithubJobSource } from '../../../app/github/job-source.ts';
import { createGithubRunners } from '../../../app/github/runners.ts';
import { createLogger } from '../../../app/log.ts';
import { jobRecord } from '../../fixtures/records.ts';
import { type FakeApi, startFakeApi } from './fake-api.ts';
import { privateKey, SECRET } from './intake-rig.ts';

const JIT = 'a-secret-jit-configuration';
const MINT = 'POST /orgs/octo/actions/runners/generate-jitconfig';
const LIST = 'GET /orgs/octo/actions/runners';
const minted = { status: 201, body: { runner: { id: 31 }, encoded_jit_config: JIT } };
const taken = { status: 409, body: { message: 'Already exists' } };
const gone = { status: 204 };

const record = jobRecord({
  id: '77',
  origin: {
    installationId: 5,
    owner: 'octo',
    repo: 'app',
    scope: 'organization',
    runId: 7,
    headSha: 'a'.repeat(40),
  },
  labels: ['architect/cpu=999'],
  state: 'refused',
  why: 'too large',
});
const { origin } = record;
const wanted = { origin, labels: ['architect'], runnerName: 'architect-vm-1' };

let api: FakeApi;
let lines: string[];

beforeEach(async () => {
  api = await startFakeApi({ checks: 'write', actions: 'write' });
  lines = [];
});

afterEach(() => api.close());

const write = (line: string) => lines.push(line);

function logger() {
  const github = { apiUrl: api.url, appId: 1, privateKey, webhookSecret: SECRET };
  return createLogger({ logLevel: 'debug', fleet: 'test', github }, { write });
}

function client(now?: () => number): GithubClient {
  const github = { apiUrl: api.url, appId: 1, privateKey };
  return createGithubClient({ github, logger: logger(), ...(now ? { now } : {}) });
}

const runners = (now?: () => number) => createGithubRunners({ client: client(now) });

function calls(): string[] {
  return api.seen.map(({ method, path }) => `${method} ${path.split('?')[0]}`);
}

describe('runners', () => {
  test('a runner is minted with all labels, and the token is asked for once', async () => {
    api.answers[MINT] = [minted];
    const github = runners();
    expect(await github.mint(wanted)).toEqual({ kind: 'minted', runnerId: 31, jitConfig: JIT });
    await github.mint(wanted);
    expect(calls()).toEqual(['POST /app/installations/5/access_tokens', MINT, MINT]);
    expect(api.seen[1]?.body).toEqual({
      name: 'architect-vm-1',
      runner_group_id: 1,
      labels: ['architect'],
      work_folder: '_work',
    });
  });

  test("a runner joins the operator's group", async () => {
    api.answers[MINT] = [minted];
    await createGithubRunners({ client: client(), runnerGroupId: 7 }).mint(wanted);
    expect(api.seen.at(-1)?.body).toMatchObject({ runner_group_id: 7 });
  });

  test("a user's repository registers its own runners", async () => {
    api.answers['POST /repos/octo/app/actions/runners/generate-jitconfig'] = [minted];
    const mine = { ...origin, scope: 'repository' } as const;
    expect(await runners().mint({ ...wanted, origin: mine })).toMatchObject({ runnerId: 31 });
  });

  test('an idle runner that has the name makes room', async () => {
    api.answers[MINT] = [taken, minted];
    const others = [
      { id: 1, name: 'architect-vm-12', busy: true },
      { id: 9, name: 'architect-vm-1', busy: false },
    ];
    api.answers[LIST] = [{ status: 200, body: { runners: others } }];
    api.answers['DELETE /orgs/octo/actions/runners/9'] = [gone];
    expect(await runners().mint(wanted)).toMatchObject({ runnerId: 31 });
    expect(calls()).toContain('DELETE /orgs/octo/actions/runners/9');
  });

  test('a busy runner that has the name keeps it', async () => {
    api.answers[MINT] = [taken];
    const holder = { id: 9, name: 'architect-vm-1', busy: true };
    api.answers[LIST] = [{ status: 200, body: { runners: [holder] } }];
    await expect(runners().mint(wanted)).rejects.toMatchObject({ code: 'RUNNER_NAME_TAKEN' });
    expect(calls().some((call) => call.startsWith('DELETE'))).toBe(false);
  });

  test('labels that GitHub takes no runner with are refused, not tried again', async () => {
    api.answers[MINT] = [{ status: 422, body: { message: 'Invalid request' } }];
    const outcome = await runners().mint({ ...wanted, labels: ['a,b'] });
    expect(outcome).toMatchObject({ kind: 'refused', why: expect.stringContaining('a,b') });
  });

  test.each([
    [204, 'removed'],
    [404, 'absent'],
    [422, 'busy'],
    [403, 'denied'],
  ])('removing answers %i as %s', async (status, outcome) => {
    const body = status === 204 ? {} : { body: { message: 'no' } };
    api.answers['DELETE /orgs/octo/actions/runners/9'] = [{ status, ...body }];
    expect(await runners().remove(origin, 9)).toBe(outcome);
  });

  test('nothing is sent that the points of the minute have no room for', async () => {
    let nowMs = Date.now();
    api.answers[MINT] = [minted];
    const github = runners(() => nowMs);
    const writes = 180;
    for (let sent = 1; sent < writes; sent += 1) await github.mint(wanted);
    await expect(github.mint(wanted)).rejects.toMatchObject({ code: 'GITHUB_PACED' });
    expect(calls()).toHaveLength(writes);
    nowMs += 60_000;
    expect(await github.mint(wanted)).toMatchObject({ runnerId: 31 });
  });

  test('a rate limit stops requests until GitHub takes them again', async () => {
    let nowMs = Date.now();
    api.answers[MINT] = [
      { status: 403, headers: { 'retry-after': '30' }, body: { message: 'slow down' } },
      minted,
    ];
    const github = runners(() => nowMs);
    const limited = { code: 'GITHUB_RATE_LIMITED', retryAtMs: nowMs + 30_000 };
    await expect(github.mint(wanted)).rejects.toMatchObject(limited);
    await expect(github.mint(wanted)).rejects.toMatchObject(limited);
    expect(calls().filter((call) => call === MINT)).toHaveLength(1);
    nowMs += 30_001;
    expect(await github.mint(wanted)).toMatchObject({ runnerId: 31 });
  });

  test('a missing permission is told apart from a GitHub that is away', async () => {
    api.answers[MINT] = [{ status: 403, body: { message: 'Resource not accessible' } }];
    await expect(runners().mint(wanted)).rejects.toMatchObject({ code: 'GITHUB_DENIED' });
    api.answers[MINT] = [{ status: 502, body: {} }];
    await expect(runners().mint(wanted)).rejects.toMatchObject({ code: 'GITHUB_AWAY' });
    await api.close();
    await expect(runners().mint(wanted)).rejects.toMatchObject({ code: 'GITHUB_AWAY' });
    api = await startFakeApi();
  });

  test('a GitHub that does not answer is given up', async () => {
    api.answers[MINT] = [{ status: 200, hang: true }];
    const impatient = { github: { apiUrl: api.url, appId: 1, privateKey }, requestTimeoutMs: 300 };
    const hurried = createGithubClient({ ...impatient, logger: logger() });
    const github = createGithubRunners({ client: hurried });
    await expect(github.mint(wanted)).rejects.toMatchObject({ code: 'GITHUB_AWAY' });
  });

  test('while it does not answer, nobody waits for it: calls fail at once, until one is answered', async () => {
    api.answers[MINT] = [{ status: 200, hang: true }];
    const impatient = { github: { apiUrl: api.url, appId: 1, privateKey }, requestTimeoutMs: 300 };
    const hurried = createGithubClient({ ...impatient, logger: logger() });
    const github = createGithubRunners({ client: hurried });
    const seen = () => api.seen.filter(({ path }) => path.endsWith('generate-jitconfig')).length;
    const tryMint = () => github.mint(wanted).catch(() => undefined);
    await Promise.all([tryMint(), tryMint(), tryMint()]);
    const before = seen();
    await Promise.all(Array.from({ length: 50 }, tryMint));
    expect([before, seen()]).toEqual([3, 3]);
    api.answers[MINT] = [minted];
    await expect.poll(tryMint).toMatchObject({ kind: 'minted' });
    expect(await Promise.all([tryMint(), tryMint()])).toMatchObject([
      { kind: 'minted' },
      { kind: 'minted' },
    ]);
  });

  test('an answer of the wrong shape is no runner', async () => {
    api.answers[MINT] = [{ status: 201, body: { runner: {} } }];
    const github = runners();
    const times = 4;
    for (let n = 0; n < times; n += 1)
      await expect(github.mint(wanted)).rejects.toMatchObject({ code: 'GITHUB_AWAY' });
    expect(api.seen.filter(({ path }) => path.endsWith('generate-jitconfig'))).toHaveLength(times);
  });

  test('no log line holds a key, a token or a runner configuration', async () => {
    api.answers[MINT] = [minted, { status: 500, body: { encoded_jit_config: JIT } }];
    const github = runners();
    const log = logger();
    log.debug(await github.mint(wanted), 'minted');
    await github.mint(wanted).catch((err: unknown) => log.warn({ err }, 'not minted'));
    expect(lines.join('')).toContain('not minted');
    expect(lines.join('')).not.toMatch(
      new RegExp(`${JIT}|ghs_|${privateKey.split('\n')[1]?.slice(0, 30).replaceAll('+', '\\+')}`),
    );
  });
});

describe('notices', () => {
  const CHECK = 'POST /repos/octo/app/check-runs';
  const CHECKS = `GET /repos/octo/app/commits/${origin.headSha}/check-runs`;
  const none = { status: 200, body: { check_runs: [] } };
  const notices = (cancelRefusedRuns: boolean) =>
    createGithubNotices({ client: client(), logger: logger(), cancelRefusedRuns });

  test('a refused job gets a failed check that says why, once', async () => {
    const there = { status: 200, body: { check_runs: [{ external_id: '77' }] } };
    api.answers[CHECKS] = [none, there];
    api.answers[CHECK] = [{ status: 201, body: {} }];
    const github = notices(false);
    await github.refused(record, 'cpu=999 is above the allowed 8.');
    await github.refused(record, 'cpu=999 is above the allowed 8.');
    const checks = api.seen.filter(({ path }) => path === '/repos/octo/app/check-runs');
    expect(checks).toHaveLength(1);
    expect(checks[0]?.body).toMatchObject({
      head_sha: origin.headSha,
      conclusion: 'failure',
      output: { summary: expect.stringContaining('cpu=999 is above the allowed 8.') },
    });
  });

  test('the run of a refused job is cancelled where the operator wants it', async () => {
    const CANCEL = 'POST /repos/octo/app/actions/runs/7/cancel';
    api.answers[CHECKS] = [none];
    api.answers[CHECK] = [{ status: 201, body: {} }];
    api.answers[CANCEL] = [
      { status: 202, body: {} },
      { status: 409, body: {} },
    ];
    await notices(true).refused(record, 'no');
    await notices(true).refused(record, 'no');
    await notices(false).refused(record, 'no');
    await notices(true).lost(record, 'its host died');
    expect(calls().filter((call) => call === CANCEL)).toHaveLength(2);
  });

  test('a lost job’s check says what happened, what it cost and what comes next', async () => {
    api.answers[CHECKS] = [none];
    api.answers[CHECK] = [{ status: 201, body: {} }];
    const times = { startedAtMs: 1, lostAtMs: 12 * 60_000, rerun: 'wanted' } as const;
    await notices(false).lost({ ...record, state: 'lost', ...times }, 'Its host is gone.');
    const checks = api.seen.filter(({ path }) => path === '/repos/octo/app/check-runs');
    expect(checks[0]?.body).toMatchObject({
      output: {
        summary: expect.stringMatching(
          /^Its host is gone\. It had run for 12 min on \d+ vCPUs and \d+ GiB of memory\. It is run again/,
        ),
      },
    });
  });

  test('without the permission nothing is written and nothing fails', async () => {
    await api.close();
    api = await startFakeApi({ actions: 'read', checks: 'read' });
    await notices(true).refused(record, 'no');
    await notices(true).lost(record, 'no');
    expect(new Set(calls())).toEqual(new Set(['POST /app/installations/5/access_tokens']));
  });
});

describe('jobs', () => {
  const job = (id: number, status: string) => ({
    id,
    run_id: 7,
    head_sha: origin.headSha,
    status,
    conclusion: null,
    created_at: '2026-01-01T00:00:00Z',
    started_at: '2026-01-01T00:00:05Z',
    completed_at: null,
    name: 'build',
    workflow_name: 'CI',
    labels: ['architect'],
    runner_name: '',
  });
  const source = () => createGithubJobSource({ client: client(), logger: logger() });

  test('a job is read, and one that GitHub does not know is undefined', async () => {
    api.answers['GET /repos/octo/app/actions/jobs/77'] = [
      { status: 200, body: job(77, 'in_progress') },
      { status: 404, body: {} },
    ];
    const facts = await source().readJob(origin, record.id);
    expect(facts).toMatchObject({ id: '77', origin, status: 'in_progress', runnerName: null });
    expect(await source().readJob(origin, record.id)).toBeUndefined();
  });

  test('open jobs of every installation are listed; one that fails hides no other', async () => {
    const ok = (body: unknown) => [{ status: 200, body }];
    const owner = { login: 'octo', type: 'Organization' };
    const installations = [{ id: 6 }, { id: 5, suspended_at: null }, { id: 8, suspended_at: 'x' }];
    const repositories = [
      { name: 'app', owner },
      { name: 'broken', owner },
    ];
    const jobs = [job(1, 'queued'), job(2, 'completed'), { id: 'odd' }, job(3, 'in_progress')];
    api.answers['GET /app/installations'] = ok(installations);
    api.answers['GET /installation/repositories'] = ok({ repositories });
    api.answers['GET /repos/octo/app/actions/runs'] = ok({ workflow_runs: [{ id: 7 }] });
    api.answers['GET /repos/octo/app/actions/runs/7/jobs'] = ok({ jobs });
    const facts = await source().listOpenJobs();
    expect(facts.map(({ id, status }) => [id, status])).toEqual([
      ['1', 'queued'],
      ['3', 'in_progress'],
    ]);
    expect(facts[0]?.origin).toMatchObject({ installationId: 5, scope: 'organization' });
    expect(calls()).not.toContain('POST /app/installations/8/access_tokens');
    expect(lines.join('')).toContain('"installationId":6');
    expect(lines.join('')).toContain('"repo":"broken"');
  });

  test('jobs are listed over several pages', async () => {
    const owner = { login: 'octo', type: 'User' };
    const ok = (body: unknown) => ({ status: 200, body });
    const page = (from: number, count: number) =>
      ok({ jobs: Array.from({ length: count }, (_none, index) => job(from + index, 'queued')) });
    api.answers['GET /app/installations'] = [ok([{ id: 5 }])];
    api.answers['GET /installation/repositories'] = [
      ok({ repositories: [{ name: 'app', owner }] }),
    ];
    api.answers['GET /repos/octo/app/actions/runs'] = [ok({ workflow_runs: [{ id: 7 }] })];
    api.answers['GET /repos/octo/app/actions/runs/7/jobs'] = [page(1, 100), page(101, 56)];
    expect(await source().listOpenJobs()).toHaveLength(156);
  });
});
