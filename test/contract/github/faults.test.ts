/** What GitHub does when things go wrong with runners, limits and permissions. */
import { afterEach, describe, expect, it } from 'vitest';
import type { GivenOptions } from '../../fakes/github/options.ts';
import { GitHubFixture, until } from './fixture.ts';

const SLEEP = 'on: push\njobs: {a: {runs-on: architect, steps: [{run: "echo up; sleep 600"}]}}';
const QUICK = 'on: push\njobs: {a: {runs-on: architect, steps: [{run: "true"}]}}';

const A_LONG_TIME_MS = 10 * 60_000;

let fixture: GitHubFixture;

async function start(given: Partial<GivenOptions> = {}): Promise<GitHubFixture> {
  fixture = await GitHubFixture.start(given);
  return fixture;
}

afterEach(async () => {
  await fixture.close();
});

function firstJob(workflow: string) {
  const [job] = fixture.push(workflow).jobs;
  if (job === undefined) throw new Error('The run has no job.');
  return job;
}

describe('permissions', () => {
  it('of the minimum do not cover checks, cancelling and repository runners', async () => {
    const { rest } = (await start()).asInstallation();
    const place = { owner: 'acme', repo: 'widgets' };
    const run_id = fixture.push(QUICK).id;
    const head_sha = 'a'.repeat(40);
    const jit = { ...place, name: 'one', labels: ['a'], runner_group_id: 1 };
    const refused = { status: 403, message: expect.stringContaining('not accessible') };
    await expect(rest.checks.create({ ...place, name: 'x', head_sha })).rejects.toMatchObject(
      refused,
    );
    await expect(rest.actions.cancelWorkflowRun({ ...place, run_id })).rejects.toMatchObject(
      refused,
    );
    await expect(rest.actions.generateRunnerJitconfigForRepo(jit)).rejects.toMatchObject(refused);
  });

  it('end with the suspension and the removal of the installation', async () => {
    const octokit = (await start()).asInstallation();
    const list = () => octokit.rest.actions.listSelfHostedRunnersForOrg({ org: 'acme' });
    await list();
    await fixture.control('PATCH', '/installations/1', { suspended: true });
    await expect(list()).rejects.toMatchObject({ status: 403 });
    await fixture.control('PATCH', '/installations/1', { suspended: false });
    await list();
    await fixture.control('DELETE', '/installations/1');
    await expect(list()).rejects.toMatchObject({ status: 401 });
  });
});

describe('limits', () => {
  it('refuse with 403 and a time to wait, per minute', async () => {
    await start({ limits: { pointsPerMinute: 12 } });
    await fixture.mint('one');
    const refused = { status: 403, response: { headers: { 'retry-after': expect.any(String) } } };
    await expect(fixture.mint('two')).rejects.toMatchObject(refused);
  });

  it('refuse with 403 and nothing remaining, per hour', async () => {
    const octokit = (await start({ limits: { requestsPerHour: 2 } })).asInstallation();
    const list = () => octokit.rest.actions.listSelfHostedRunnersForOrg({ org: 'acme' });
    expect((await list()).headers['x-ratelimit-remaining']).toBe('1');
    await list();
    const headers = { 'x-ratelimit-remaining': '0' };
    await expect(list()).rejects.toMatchObject({ status: 403, response: { headers } });
  });

  it('answer what a test asks for', async () => {
    await start();
    const fault = { path: 'generate-jitconfig$', method: 'POST', status: 503, count: 1 };
    await fixture.control('POST', '/faults/api', fault);
    await expect(fixture.mint('one')).rejects.toMatchObject({ status: 503 });
    await fixture.mint('one');
  });
});

describe('runners', () => {
  it('get whichever job their labels cover, not the one they were made for', async () => {
    await start({ seed: 3 });
    const first = firstJob(QUICK);
    const second = firstJob(QUICK);
    const late = await fixture.mint('for-first');
    await fixture.startRunner(await fixture.mint('for-second'));
    expect(first).toMatchObject({ conclusion: 'success', runner: { name: 'for-second' } });
    await fixture.startRunner(late);
    expect(second).toMatchObject({ conclusion: 'success', runner: { name: 'for-first' } });
  });

  it('without all labels get nothing', async () => {
    await start();
    const job = firstJob(QUICK.replace('architect', '[architect, gpu]'));
    const poor = fixture.startRunner(await fixture.mint('poor', ['architect']));
    const { runners } = fixture.github.simulation.world;
    await until('it waits', () => [...runners.values()][0]?.session?.wake !== undefined);
    await fixture.startRunner(await fixture.mint('rich', ['GPU', 'x64', 'Architect']));
    expect(job.runner?.name).toBe('rich');
    expect(poor.pid !== undefined && process.kill(poor.pid, 0)).toBe(true);
  });

  it('that are never used expire, and are unknown then', async () => {
    await start({ durations: { unusedJitMs: 300 } });
    const jitConfig = await fixture.mint('unused');
    const { runners } = fixture.github.simulation.world;
    await until('it is removed', () => runners.size === 0);
    const { exitCode } = await fixture.startRunner(jitConfig);
    expect(exitCode).toBe(1);
  });

  it('that wait for a job stay', async () => {
    await start();
    void fixture.startRunner(await fixture.mint('waiting'));
    const [runner] = fixture.github.simulation.world.runners.values();
    await until('it waits', () => runner?.session?.wake);
    fixture.github.simulation.sweeper.sweep(Date.now() + A_LONG_TIME_MS);
    const job = firstJob(QUICK);
    await until('it gets a job', () => job.conclusion);
    expect(job.conclusion).toBe('success');
  });

  it('that do not take the offered job leave it to another', async () => {
    await start({ durations: { offerMs: 300 } });
    const stopped = fixture.startRunner(await fixture.mint('stopped'));
    const { runners } = fixture.github.simulation.world;
    const [first] = runners.values();
    await until('it waits', () => first?.session?.wake !== undefined);
    process.kill(stopped.pid ?? 0, 'SIGSTOP');
    const job = firstJob(QUICK);
    expect(first?.offered).toBe(job);
    await fixture.startRunner(await fixture.mint('other'));
    expect(job).toMatchObject({ conclusion: 'success', runner: { name: 'other' } });
  });

  it('that stop renewing their lock lose the job, which fails', async () => {
    await start({ durations: { lockMs: 3_000, lockRenewMs: 300 } });
    const job = firstJob(SLEEP);
    const runner = fixture.startRunner(await fixture.mint('dies'));
    await until('the step runs', () => job.firstStepAtMs);
    const lockedUntilMs = job.lockedUntilMs ?? 0;
    await until('the lock is renewed', () => (job.lockedUntilMs ?? 0) > lockedUntilMs);
    runner.kill('SIGKILL');
    await until('the job ends', () => job.conclusion);
    expect(job.conclusion).toBe('failure');
    expect(fixture.github.simulation.world.runners.size).toBe(0);
  });

  it('that do not hear of a cancel lose the job all the same', async () => {
    await start({ durations: { cancelMs: 300 } });
    const job = firstJob(SLEEP);
    const runner = fixture.startRunner(await fixture.mint('deaf'));
    await until('the step runs', () => job.firstStepAtMs);
    process.kill(runner.pid ?? 0, 'SIGSTOP');
    await fixture.control('POST', `/jobs/${job.id}/cancel`);
    await until('the job ends', () => job.conclusion);
    expect(job.conclusion).toBe('cancelled');
  });

  it('go on with their log on a new connection when the old one breaks', async () => {
    await start();
    const script = 'for i in $(seq 1 200); do echo "line $i"; sleep 0.01; done';
    const job = firstJob(QUICK.replace('"true"', JSON.stringify(script)));
    const runner = fixture.startRunner(await fixture.mint('one'));
    await until('the log flows', () => job.log.text().includes('line 20\n'));
    fixture.github.breakLogUploads();
    await runner;
    const lines = job.log.text().match(/^line \d+$/gm);
    expect(lines).toEqual(Array.from({ length: 200 }, (_, index) => `line ${index + 1}`));
  });
});

describe('the control API', () => {
  it('wants its token', async () => {
    await start();
    expect((await fetch(`${fixture.github.url}/_sim/runs`)).status).toBe(401);
  });

  it('refuses a workflow that it would not run as GitHub does', async () => {
    await start();
    const workflow = QUICK.replace('run:', 'uses:');
    const push = fixture.control('POST', '/repos/acme/widgets/push', { workflow });
    await expect(push).rejects.toThrow(/Invalid workflow file/);
  });

  it('follows a log from its beginning to the end of the job', async () => {
    await start();
    const job = firstJob(QUICK.replace('"true"', '"echo one; sleep 0.2; echo two"'));
    const url = `${fixture.github.url}/_sim/jobs/${job.id}/log?follow=true`;
    const authorization = 'Bearer control-token';
    const following = fetch(url, { headers: { authorization } }).then((answer) => answer.text());
    await fixture.startRunner(await fixture.mint('one'));
    expect(await following).toBe(job.log.text());
    expect(job.log.text()).toMatch(/one\ntwo\n/);
  });
});
