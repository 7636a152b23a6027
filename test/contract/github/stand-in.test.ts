/** The stand-in runner as a plain process against the simulated GitHub. */
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { GitHubFixture, until } from './fixture.ts';

let fixture: GitHubFixture;

beforeEach(async () => {
  fixture = await GitHubFixture.start();
});
afterEach(async () => {
  await fixture.close();
});

function workflow(...scripts: readonly string[]): string {
  const steps = scripts.map((run) => ({ run }));
  return JSON.stringify({ on: 'push', jobs: { build: { 'runs-on': 'architect', steps } } });
}

function onlyJob(run: ReturnType<GitHubFixture['push']>) {
  const [job] = run.jobs;
  if (job === undefined) throw new Error('The run has no job.');
  return job;
}

async function runOne(scripts: readonly string[], environment: Record<string, string> = {}) {
  const job = onlyJob(fixture.push(workflow(...scripts)));
  const runner = fixture.startRunner(await fixture.mint('one'), environment);
  const { exitCode, all } = await runner;
  return { job, exitCode, output: String(all) };
}

describe('a job on the stand-in', () => {
  it('ends green with its log complete and in order', async () => {
    const { job, exitCode, output } = await runOne(['echo first; echo also >&2', 'echo second']);
    expect(output).toContain('Listening for Jobs');
    expect(job.conclusion).toBe('success');
    expect(exitCode).toBe(0);
    expect(job.log.text()).toMatch(/first\n(.|\n)*second\n/);
    expect(job.steps.map((step) => [step.name, step.conclusion])).toEqual([
      ['Set up job', 'success'],
      ['Run echo first; echo also >&2', 'success'],
      ['Run echo second', 'success'],
      ['Complete job', 'success'],
    ]);
    const order = [job.queuedAtMs, job.assignedAtMs, job.firstStepAtMs, job.completedAtMs];
    expect(order).toEqual(order.toSorted());
    expect(fixture.github.simulation.world.runners.size).toBe(0);
  });

  it('ends red at the first step that fails, and skips the rest', async () => {
    const { job, exitCode } = await runOne(['false; echo not reached', 'echo never']);
    expect(job.conclusion).toBe('failure');
    expect(exitCode).toBe(0);
    expect(job.log.text()).not.toMatch(/^(never|not reached)$/m);
    expect(job.steps.map((step) => step.conclusion)).toEqual([
      'success',
      'failure',
      'skipped',
      'success',
    ]);
  });

  it('delivers a log of a megabyte whole', async () => {
    const { job } = await runOne(['seq -f "line %06g" 1 100000']);
    const lines = job.log.text().match(/^line \d+$/gm) ?? [];
    expect(lines).toHaveLength(100_000);
    expect(lines).toEqual(lines.toSorted());
  });

  it('runs on bash with -e and pipefail, and hands on GITHUB_ENV', async () => {
    const { job } = await runOne([
      'echo "GREETING=hello there" >> "$GITHUB_ENV"',
      '[[ $GREETING == "hello there" && $CI == true && $GITHUB_REPOSITORY == acme/widgets ]]',
      'false | true',
    ]);
    expect(job.steps.map((step) => step.conclusion)).toEqual([
      'success',
      'success',
      'success',
      'failure',
      'success',
    ]);
  });

  it('keeps its JIT configuration out of what steps inherit', async () => {
    const { job } = await runOne(['env', 'tr "\\0" "\\n" < /proc/self/environ'], {
      ACTIONS_RUNNER_INPUT_TOKEN: 'another-secret',
    });
    expect(job.conclusion).toBe('success');
    expect(job.log.text()).toContain('GITHUB_RUN_ID=');
    expect(job.log.text()).not.toMatch(/JITCONFIG|another-secret/);
  });

  it('is cancelled in the middle of a step, with all that the step started', async () => {
    const job = onlyJob(fixture.push(workflow('echo started; sleep 600 & sleep 601; wait')));
    const runner = fixture.startRunner(await fixture.mint('one'));
    await until('the step runs', () => job.log.text().includes('\nstarted\n'));
    await fixture.control('POST', `/jobs/${job.id}/cancel`);
    const { exitCode } = await runner;
    expect(exitCode).toBe(0);
    expect(job.conclusion).toBe('cancelled');
  });
});

async function hook(script: string): Promise<string> {
  const path = join(tmpdir(), `hook-${process.pid}.sh`);
  onTestFinished(() => rm(path, { force: true }));
  await writeFile(path, script, { mode: 0o755 });
  return path;
}

describe('the job-started hook', () => {
  it('runs before the first step', async () => {
    const ACTIONS_RUNNER_HOOK_JOB_STARTED = await hook('echo from the hook');
    const { job } = await runOne(['echo from the step'], { ACTIONS_RUNNER_HOOK_JOB_STARTED });
    expect(job.conclusion).toBe('success');
    expect(job.log.text()).toMatch(/from the hook\n(.|\n)*from the step\n/);
  });

  it('fails the job when it fails', async () => {
    const ACTIONS_RUNNER_HOOK_JOB_STARTED = await hook('exit 3');
    const { job } = await runOne(['echo never'], { ACTIONS_RUNNER_HOOK_JOB_STARTED });
    expect(job.conclusion).toBe('failure');
    expect(job.firstStepAtMs).toBeUndefined();
  });
});

describe('the job-completed hook', () => {
  const SUMMARY = 'echo "of the hook" >> "$GITHUB_STEP_SUMMARY"';

  it('runs after the last step, and writes into the job’s summary as the steps do', async () => {
    const ACTIONS_RUNNER_HOOK_JOB_COMPLETED = await hook(`echo from the hook; ${SUMMARY}`);
    const steps = ['echo one >> "$GITHUB_STEP_SUMMARY"', 'echo from the step'];
    const { job } = await runOne(steps, { ACTIONS_RUNNER_HOOK_JOB_COMPLETED });
    expect(job.conclusion).toBe('success');
    expect(job.log.text()).toMatch(/from the step\n(.|\n)*from the hook\n/);
    expect([...job.summaries]).toEqual([
      [2, 'one\n'],
      [4, 'of the hook\n'],
    ]);
    expect(await fixture.readSummary(job.id)).toBe('one\n\nof the hook\n');
  });

  it('runs after a step that failed too, and fails the job when it fails', async () => {
    const ACTIONS_RUNNER_HOOK_JOB_COMPLETED = await hook(`${SUMMARY}; exit 3`);
    const { job } = await runOne(['true'], { ACTIONS_RUNNER_HOOK_JOB_COMPLETED });
    expect(job.conclusion).toBe('failure');
    const { job: failed } = await runOne(['false'], { ACTIONS_RUNNER_HOOK_JOB_COMPLETED });
    expect([...failed.summaries.values()]).toEqual(['of the hook\n']);
  });

  it('finds GITHUB_STEP_SUMMARY limited as at GitHub', async () => {
    const { job } = await runOne(['head -c 1048577 /dev/zero | tr "\\0" x > $GITHUB_STEP_SUMMARY']);
    expect(job.conclusion).toBe('success');
    expect(job.log.text()).toContain('##[error]$GITHUB_STEP_SUMMARY takes 1024k at most.\n');
    expect(job.summaries.size).toBe(0);
  });
});

describe('a runner that is not known', () => {
  it('exits with an error', async () => {
    const jitConfig = await fixture.mint('one');
    const [runner] = fixture.github.simulation.world.runners.values();
    if (runner !== undefined) fixture.github.simulation.runners.remove(runner);
    const { exitCode, all } = await fixture.startRunner(jitConfig);
    expect(exitCode).toBe(1);
    expect(String(all)).toContain('401');
  });
});
