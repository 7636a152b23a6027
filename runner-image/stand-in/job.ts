/**
 * One job: the job-started hook, then its steps, each a `bash -e` script in a work folder, then the
 * job-completed hook; every step's start and end is reported, and what it wrote for the job's
 * summary. The first failure or the cancellation decides the result.
 */
import { mkdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { JobLog } from './job-log.ts';
import type { RunnerServer } from './server.ts';
import { readSetupInfo } from './setup-info.ts';
import { parseSetEnv, type StepPlace, stepEnvironment } from './step-environment.ts';
import { runScript } from './step-process.ts';
import type { Conclusion, JobDetails, JobStep } from './wire.ts';

const SET_UP_STEP = 1;
const FILES_OF_STEPS = ['set-env', 'set-output', 'add-path', 'step-summary'];
/** Of steps and of hooks, as at the official runner (ScriptHandlerHelpers). */
const BASH_FLAGS = ['--noprofile', '--norc', '-e', '-o', 'pipefail'];
/** As at the official runner (CreateStepSummaryCommand). */
const MAX_SUMMARY_BYTES = 1024 * 1024;

export interface JobRun {
  readonly server: RunnerServer;
  readonly job: JobDetails;
  readonly runnerName: string;
  readonly workDir: string;
  /** Where the runner itself is. */
  readonly runnerDir: string;
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
    const isComplete = await complete(running);
    return isComplete || result === 'cancelled' ? result : 'failure';
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
    running.log.write(await readSetupInfo(running.runnerDir));
    if (hook === undefined) return 'success';
    running.log.write(`A job started hook has been configured: '${hook}'\n`);
    return conclude(running, await runFile(running, { file: hook }));
  });
  return result === 'success';
}

/** The hook runs after a cancellation too, and fails the job when it fails. */
async function complete(running: Running): Promise<boolean> {
  const number = (running.job.steps.at(-1)?.number ?? SET_UP_STEP) + 1;
  const hook = running.environment.ACTIONS_RUNNER_HOOK_JOB_COMPLETED;
  const result = await report(running, { number, name: 'Complete job' }, async () => {
    if (hook === undefined) return 'success';
    running.log.write(`A job completed hook has been configured: '${hook}'\n`);
    await emptyFiles(running);
    const unstoppable = { ...running, signal: new AbortController().signal };
    const code = await runFile(unstoppable, { file: hook });
    await uploadSummary(running, number);
    return conclude(unstoppable, code);
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
  await emptyFiles(running);
  await writeFile(file, step.run, { mode: 0o755 });
  running.log.write(
    `##[group]Run ${step.run.split('\n')[0]}\n${step.run.trimEnd()}\n##[endgroup]\n`,
  );
  const code = await runFile(running, { file, step });
  running.base = { ...running.base, ...(await readSetEnv(tempDir)) };
  await uploadSummary(running, step.number);
  if (code !== 0) running.log.write(`##[error]Process completed with exit code ${code}.\n`);
  return conclude(running, code);
}

function runFile(
  { place, base, log, signal }: Running,
  { file, step }: { readonly file: string; readonly step?: JobStep },
): Promise<number> {
  return runScript({
    command: '/bin/bash',
    args: [...BASH_FLAGS, file],
    cwd: place.workspace,
    env: stepEnvironment(base, place, step),
    output: (data) => log.write(data),
    signal,
  });
}

async function emptyFiles({ place }: Running): Promise<void> {
  for (const name of FILES_OF_STEPS) await writeFile(join(place.tempDir, name), '');
}

async function uploadSummary(running: Running, number: number): Promise<void> {
  const { server, job, log, place } = running;
  const summary = await readFile(join(place.tempDir, 'step-summary'), 'utf8').catch(() => '');
  if (summary === '') return;
  if (Buffer.byteLength(summary) > MAX_SUMMARY_BYTES) {
    log.write(`##[error]$GITHUB_STEP_SUMMARY takes ${MAX_SUMMARY_BYTES / 1024}k at most.\n`);
    return;
  }
  await server.putSummary(job.jobId, number, summary).catch((error) => {
    log.write(`##[error]The step's summary is not delivered: ${String(error)}\n`);
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
