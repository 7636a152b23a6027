/**
 * `npm run soak`: the demo again and again. Every run must be green and leave nothing behind; the
 * first that is not ends the soak with exit code 1 and its output. With `--model`, instead: the
 * token's protocol, explored within larger bounds than `npm test` has time for; with `--cpu-models`, a
 * VM of each CPU model moves.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { execa } from 'execa';
import { formatDuration, formatTable } from '../app/cli/table.ts';
import { DemoReport } from '../app/demo/report.ts';
import { soakModel } from './model/authority/run-soak.ts';
import { soakCpuModels } from './soak-cpu-models.ts';

const DEFAULT_RUNS = 20;
const MAX_RUNS = 10_000;
const RUN_LIMIT_MS = 15 * 60_000;
const END_LIMIT_MS = 60_000;
const CLI = join(import.meta.dirname, '../app/cli/architect.ts');

interface SoakOptions {
  readonly runs: number;
  readonly model?: true;
  readonly cpuModels?: true;
}

interface Run {
  readonly beganAt: Date;
  readonly tookMs: number;
  readonly outcome: string;
  readonly firstStepMs: number | undefined;
  readonly green: boolean;
  readonly output: string;
}

await new Command('npm run soak --')
  .description(
    'Runs the demo again and again; each time it must be green and leave nothing behind.',
  )
  .option('--runs <n>', 'how many times', parseRuns, DEFAULT_RUNS)
  .option('--model', "explore the token's protocol instead, within larger bounds")
  .option('--cpu-models', 'move a VM of each CPU model instead')
  .addHelpText('after', '\nExamples:\n  npm run soak -- --runs 100\n  npm run soak -- --model')
  .action(async ({ runs, model, cpuModels }: SoakOptions) => {
    const write = (text: string) => process.stdout.write(`${text}\n`);
    if (model !== true && cpuModels !== true) return await soak(runs);
    const isGood = model === true ? soakModel(write) : await soakCpuModels(write);
    if (!isGood) process.exitCode = 1;
  })
  .parseAsync();

async function soak(count: number): Promise<void> {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort());
  const runs: Run[] = [];
  while (runs.length < count && !stop.signal.aborted) {
    const run = await runDemo(stop.signal);
    if (stop.signal.aborted) break;
    runs.push(run);
    process.stderr.write(`${runs.length}/${count}: ${run.outcome}\n`);
    if (run.green) continue;
    process.stderr.write(`${run.output}\n`);
    process.exitCode = 1;
    break;
  }
  process.stdout.write(`${describe(runs)}\n`);
}

async function runDemo(signal: AbortSignal): Promise<Run> {
  const dir = await mkdtemp(join(tmpdir(), 'architect-soak-'));
  const reportPath = join(dir, 'report.json');
  const beganAt = new Date();
  const beganMs = performance.now();
  try {
    const demo = await execa(process.execPath, [CLI, 'demo', '--report', reportPath], {
      all: true,
      reject: false,
      timeout: RUN_LIMIT_MS,
      cancelSignal: signal,
      forceKillAfterDelay: END_LIMIT_MS,
    });
    const tookMs = performance.now() - beganMs;
    const report = await readReport(reportPath);
    return { beganAt, tookMs, output: demo.all, ...judge(demo.exitCode, report) };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function judge(exitCode: number | undefined, report: DemoReport | undefined) {
  if (report === undefined) {
    return { outcome: `no report, exit code ${exitCode}`, green: false, firstStepMs: undefined };
  }
  const { job, leftovers, timeline } = report;
  const atOf = (wanted: string) => timeline.find(({ event }) => event === wanted)?.atMs;
  const [receivedAtMs, firstStepAtMs] = [atOf('webhook received'), atOf('first step')];
  const left = leftovers.length === 0 ? 'nothing left' : `left: ${leftovers.join(', ')}`;
  return {
    outcome: `${job.conclusion}, ${left}`,
    green: exitCode === 0 && job.conclusion === 'success' && leftovers.length === 0,
    firstStepMs:
      receivedAtMs === undefined || firstStepAtMs === undefined
        ? undefined
        : firstStepAtMs - receivedAtMs,
  };
}

async function readReport(path: string): Promise<DemoReport | undefined> {
  try {
    return DemoReport.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}

function describe(runs: readonly Run[]): string {
  const rows = runs.map(({ beganAt, tookMs, firstStepMs, outcome }) => [
    beganAt.toISOString(),
    formatDuration(tookMs),
    firstStepMs === undefined ? '' : formatDuration(firstStepMs),
    outcome,
  ]);
  const green = runs.filter((run) => run.green).length;
  return `${formatTable(['began', 'took', 'first step', 'outcome'], rows)}\n\n${green} of ${runs.length} green`;
}

function parseRuns(text: string): number {
  const runs = Number(text);
  if (Number.isInteger(runs) && runs >= 1 && runs <= MAX_RUNS) return runs;
  throw new InvalidArgumentError(`It wants a whole number from 1 to ${MAX_RUNS}.`);
}
