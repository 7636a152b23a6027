/**
 * One job: the job-started hook, then its steps, each a `bash -e` script in a work folder; every
 * step's start and end is reported. The first failure or the cancellation decides the result.
 */
import { mkdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { JobLog } from './job-log.ts';
import type { RunnerServer } from './server.ts';
import { parseSetEnv, type StepPlace, stepEnvironment } from './step-environment.ts';
import { runScript } from './step-process.ts';
import type { Conclusion, JobDetails, JobStep } from './wire.ts';

const SET_UP_STEP = 1;
const FILES_OF_STEPS = ['set-env', 'set-output', 'add-path', 'step-summary'];

export interface JobRun {
  readonly server: RunnerServer;
  readonly job: JobDetails;
  readonly runnerName: string;
  readonly workDir: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

interface Running extends JobRun {
  readonly log: JobLog;
  readonly place: StepPlace;
  base: NodeJS.ProcessEnv;
}

/**
 * The job-started hook runs when this returns. Resolves with the result when the log is
 * delivered; the result itself is not reported yet.
 */
export async function runJob(run: JobRun): Promise<Conclusion> {
  const log = new JobLog(run.server, run.job.jobId);
  try {
    const place = preparePlace(run);
    const running = { ...run, log, place, base: run.environment };
    const result = (await setUp(running)) ? await runSteps(running) : 'failure';
    const last = run.job.steps.at(-1)?.number ?? SET_UP_STEP;
    await report(running, { number: last + 1, name: 'Complete job' }, async () => 'success');
    return result;
  } finally {
    await log.finish();
  }
}

function preparePlace({ job, runnerName, workDir }: JobRun): StepPlace {
  const repository = job.repository.split('/')[1] ?? 'repository';
  const workspace = join(workDir, repository, repository);
  const tempDir = join(workDir, '_temp');
  mkdirSync(workspace, { recursive: true });
  mkdirSync(tempDir, { recursive: true });
  return { job, runnerName, workspace, tempDir };
}

async function setUp(running: Running): Promise<boolean> {
  const hook = running.environment.ACTIONS_RUNNER_HOOK_JOB_STARTED;
  const result = await report(running, { number: SET_UP_STEP, name: 'Set up job' }, async () => {
    running.log.write(`Runner name: '${running.runnerName}'\n`);
    if (hook === undefined) return 'success';
    running.log.write(`A job started hook has been configured: '${hook}'\n`);
    return conclude(running, await runFile(running, { file: hook, flags: [] }));
  });
  return result === 'success';
}

async function runSteps(running: Running): Promise<Conclusion> {
  let result: Conclusion = running.signal.aborted ? 'cancelled' : 'success';
  for (const step of running.job.steps) {
    const conclusion = wanted(step, result)
      ? await report(running, step, () => runStep(running, step))
      : await skip(running, step);
    if (running.signal.aborted) result = 'cancelled';
    else if (conclusion === 'failure' && !step.continueOnError) result = 'failure';
  }
  return result;
}

function wanted(step: JobStep, result: Conclusion): boolean {
  if (step.condition === 'always') return result !== 'cancelled';
  return step.condition === result;
}

async function skip(running: Running, step: JobStep): Promise<Conclusion> {
  return await report(running, step, async () => 'skipped');
}

async function runStep(running: Running, step: JobStep): Promise<Conclusion> {
  const { tempDir } = running.place;
  const file = join(tempDir, `step-${step.number}.sh`);
  for (const name of FILES_OF_STEPS) await writeFile(join(tempDir, name), '');
  await writeFile(file, step.run, { mode: 0o755 });
  running.log.write(
    `##[group]Run ${step.run.split('\n')[0]}\n${step.run.trimEnd()}\n##[endgroup]\n`,
  );
  const flags = ['--noprofile', '--norc', '-e', '-o', 'pipefail'];
  const code = await runFile(running, { file, flags, step });
  running.base = { ...running.base, ...(await readSetEnv(tempDir)) };
  if (code !== 0) running.log.write(`##[error]Process completed with exit code ${code}.\n`);
  return conclude(running, code);
}

function runFile(
  { place, base, log, signal }: Running,
  { file, flags, step }: { file: string; flags: readonly string[]; step?: JobStep },
): Promise<number> {
  return runScript({
    command: '/bin/bash',
    args: [...flags, file],
    cwd: place.workspace,
    env: stepEnvironment(base, place, step),
    output: (data) => log.write(data),
    signal,
  });
}

async function readSetEnv(tempDir: string): Promise<Record<string, string>> {
  return parseSetEnv(await readFile(join(tempDir, 'set-env'), 'utf8').catch(() => ''));
}

function conclude({ signal, log }: Running, code: number): Conclusion {
  if (!signal.aborted) return code === 0 ? 'success' : 'failure';
  log.write('##[error]The operation was canceled.\n');
  return 'cancelled';
}

/** The start's report runs beside the step, so that the network does not hold up the job. */
async function report(
  { server, job }: Running,
  { number, name }: { readonly number: number; readonly name: string },
  act: () => Promise<Conclusion>,
): Promise<Conclusion> {
  const startedAtMs = Date.now();
  const start = { name, status: 'in_progress', conclusion: null, startedAtMs, completedAtMs: null };
  const started = server.reportStep(job.jobId, number, { ...start, status: 'in_progress' });
  started.catch(() => {});
  const conclusion = await act();
  await started.catch(() => {});
  const end = { ...start, conclusion, completedAtMs: Date.now() };
  await server.reportStep(job.jobId, number, { ...end, status: 'completed' }).catch((error) => {
    console.error(`Step ${number} is not reported: ${String(error)}`);
  });
  return conclusion;
}
