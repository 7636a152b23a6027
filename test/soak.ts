/**
 * `npm run soak`: the demo again and again. In every run the job must move, end green, keep its
 * connection and leave nothing behind; the first that does not ends the soak with exit code 1 and its
 * output. With `--model`, instead: the
 * token's protocol, explored within larger bounds than `npm test` has time for; `--hops`: one VM that
 * moves back and forth and compares what it has in memory and on its disk; `--faults`: every fault at
 * every step of a move; `--flows`: connections and datagrams through many moves of the switch;
 * `--cpu-models`: a VM of each CPU model moves; `--github`: GitHub's worst hours at their own length.
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
import { soakGithub } from './soak-github.ts';
import { soakFaults, soakFlows, soakHops } from './soak-moves.ts';

const DEFAULT_RUNS = 20;
const DEFAULT_HOPS = 50;
const DEFAULT_MOVES = 200;
const MAX_RUNS = 10_000;
const RUN_LIMIT_MS = 15 * 60_000;
const END_LIMIT_MS = 60_000;
const EXAMPLES = [
  '--runs 100',
  '--hops 10',
  '--faults',
  '--flows',
  '--model',
  '--cpu-models',
  '--github',
];
const FIGURES = ['first step', 'notice → moved', 'stood', 'silence'] as const;
const NO_FIGURES = FIGURES.map(() => '');
const CLI = join(import.meta.dirname, '../app/cli/architect.ts');

interface SoakOptions {
  readonly runs: number;
  /** `true`: as many as it takes to be sure. */
  readonly hops?: number | true;
  readonly flows?: number | true;
  readonly faults?: true;
  readonly model?: true;
  readonly cpuModels?: true;
  /** Text: the cases whose name has it. */
  readonly github?: string | true;
}

interface Run {
  readonly beganAt: Date;
  readonly tookMs: number;
  readonly outcome: string;
  readonly figures: readonly string[];
  readonly green: boolean;
  readonly output: string;
}

await new Command('npm run soak --')
  .description(
    'Runs the demo again and again; each time it must be green and leave nothing behind.',
  )
  .option('--runs <n>', 'how many times', parseRuns, DEFAULT_RUNS)
  .option('--hops [n]', `let one VM hop from host to host instead (${DEFAULT_HOPS})`, parseRuns)
  .option('--faults', 'let every fault hit a move at every step instead')
  .option('--flows [n]', `move connections, n times, instead (${DEFAULT_MOVES})`, parseRuns)
  .option('--model', "explore the token's protocol instead, within larger bounds")
  .option('--cpu-models', 'move a VM of each CPU model instead')
  .option('--github [name]', "go through GitHub's worst hours at their own length instead")
  .addHelpText(
    'after',
    `\nExamples:\n${EXAMPLES.map((args) => `  npm run soak -- ${args}`).join('\n')}`,
  )
  .action(async (options: SoakOptions) => {
    if (!(await soakWhatIsAsked(options))) process.exitCode = 1;
  })
  .parseAsync();

async function soakWhatIsAsked(options: SoakOptions): Promise<boolean> {
  const { runs, hops, flows, faults, model, cpuModels, github } = options;
  const write = (text: string) => process.stdout.write(`${text}\n`);
  if (hops !== undefined) return await soakHops(hops === true ? DEFAULT_HOPS : hops);
  if (flows !== undefined) return await soakFlows(flows === true ? DEFAULT_MOVES : flows);
  if (faults === true) return await soakFaults();
  if (model === true) return soakModel(write);
  if (cpuModels === true) return await soakCpuModels(write);
  if (github !== undefined) return await soakGithub(github === true ? undefined : github, write);
  return await soak(runs);
}

async function soak(count: number): Promise<boolean> {
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
    break;
  }
  process.stdout.write(`${describe(runs)}\n`);
  return runs.every(({ green }) => green);
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
    return { outcome: `no report, exit code ${exitCode}`, green: false, figures: NO_FIGURES };
  }
  const { job, leftovers, moves, resets } = report;
  const faults = [
    ...(job.conclusion === 'success' ? [] : [`the job ended: ${job.conclusion}`]),
    ...(moves.length > 0 ? [] : ['it did not move']),
    ...(resets === 0 ? [] : [`${resets} connections broke`]),
    ...(leftovers.length === 0 ? [] : [`left: ${leftovers.join(', ')}`]),
    ...(exitCode === 0 ? [] : [`exit code ${exitCode}`]),
  ];
  const green = faults.length === 0;
  return { outcome: green ? 'green' : faults.join('; '), green, figures: figuresOf(report) };
}

function figuresOf({ timeline, moves, longestSilenceMs }: DemoReport): readonly string[] {
  const between = (first: string, second: string) => {
    const atOf = (wanted: string) => timeline.find(({ event }) => event === wanted)?.atMs;
    const [fromMs, toMs] = [atOf(first), atOf(second)];
    return fromMs === undefined || toMs === undefined ? '' : formatDuration(toMs - fromMs);
  };
  return [
    between('webhook received', 'first step'),
    between('notice', 'moved'),
    moves.map(({ blackoutMs: ms }) => (ms === null ? '?' : formatDuration(ms))).join(', '),
    formatDuration(longestSilenceMs),
  ];
}

async function readReport(path: string): Promise<DemoReport | undefined> {
  try {
    return DemoReport.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}

function describe(runs: readonly Run[]): string {
  const rows = runs.map(({ beganAt, tookMs, figures, outcome }) => [
    ...[beganAt.toISOString(), formatDuration(tookMs)],
    ...[...figures, outcome],
  ]);
  const green = runs.filter((run) => run.green).length;
  return `${formatTable(['began', 'took', ...FIGURES, 'outcome'], rows)}\n\n${green} of ${runs.length} green`;
}

function parseRuns(text: string): number {
  const runs = Number(text);
  if (Number.isInteger(runs) && runs >= 1 && runs <= MAX_RUNS) return runs;
  throw new InvalidArgumentError(`It wants a whole number from 1 to ${MAX_RUNS}.`);
}
