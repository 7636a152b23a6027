/** The stand-in that was started before its configuration was known, against the simulated GitHub. */
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { GitHubFixture } from './fixture.ts';

const STAND_IN = join(import.meta.dirname, '../../../runner-image/stand-in');

let fixture: GitHubFixture;
let dir: string;
let waitingPid: number;

beforeEach(async () => {
  fixture = await GitHubFixture.start();
  dir = await mkdtemp(join(tmpdir(), 'waiting-stand-in-'));
  await cp(STAND_IN, dir, { recursive: true });
  await execa(join(dir, 'prepare.sh'), { env: environment(), extendEnv: false, stdio: 'ignore' });
  waitingPid = Number(await readFile(join(dir, '.waiting/pid'), 'utf8'));
});
afterEach(async () => {
  if (await isWaiting()) process.kill(waitingPid, 'SIGKILL');
  await fixture.close();
  await rm(dir, { recursive: true, force: true });
});

const environment = () => ({
  PATH: process.env.PATH,
  HOME: join(dir, 'home'),
  RUNNER_NODE: process.execPath,
});

async function isWaiting(): Promise<boolean> {
  const cmdline = await readFile(`/proc/${waitingPid}/cmdline`, 'utf8').catch(() => '');
  return cmdline.includes(dir);
}

async function runJob(script: string) {
  const definition = {
    on: 'push',
    jobs: { build: { 'runs-on': 'architect', steps: [{ run: script }] } },
  };
  const [job] = fixture.push(JSON.stringify(definition)).jobs;
  if (job === undefined) throw new Error('The run has no job.');
  const variables = { ...environment(), ACTIONS_RUNNER_INPUT_JITCONFIG: await fixture.mint('one') };
  const options = { env: variables, extendEnv: false, reject: false, timeout: 60_000 } as const;
  const { exitCode } = await execa(join(dir, 'run.sh'), options);
  return { job, exitCode };
}

it('runs the job in the process that waited, and both are gone then', async () => {
  const { job, exitCode } = await runJob(
    'echo "parent $PPID"; ls -d "$HOME/.rehearsal" || echo "no rehearsal"; env; tr "\\0" "\\n" < /proc/$PPID/environ',
  );
  expect(exitCode).toBe(0);
  expect(job.conclusion).toBe('success');
  expect(job.log.text()).toContain(`parent ${waitingPid}\n`);
  expect(job.log.text()).toContain('no rehearsal\n');
  expect(job.log.text()).not.toContain('JITCONFIG');
  await expect.poll(isWaiting).toBe(false);
});

it('starts anew when the process that waited has died', async () => {
  process.kill(waitingPid, 'SIGKILL');
  await expect.poll(isWaiting).toBe(false);
  const { job, exitCode } = await runJob('echo "parent $PPID"');
  expect(exitCode).toBe(0);
  expect(job.conclusion).toBe('success');
  expect(job.log.text()).not.toContain(`parent ${waitingPid}\n`);
});

it('takes a second configuration by starting anew', async () => {
  expect((await runJob('true')).exitCode).toBe(0);
  expect((await runJob('true')).job.conclusion).toBe('success');
});
