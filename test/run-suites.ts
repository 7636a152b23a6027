/**
 * `npm test`: runs the suites one after the other and prints what each took. The plain closing line
 * sums them up. Arguments name suites (`npm test -- unit integration`); without any, all run. Told to
 * end, by Ctrl-C or SIGTERM, it ends what it started; what a killed one left is removed first.
 */
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { endTestRun, openTestRun, sweepDeadTestRuns, testRunEnvironment } from './test-run.ts';

const SUITES = ['check', 'unit', 'contract', 'integration', 'e2e'] as const;
type Suite = (typeof SUITES)[number];

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const SUITE_LIMIT_MS = 40 * 60_000;

const VitestResult = z.object({
  numPassedTests: z.int(),
  numFailedTests: z.int(),
  numFailedTestSuites: z.int(),
  numPendingTests: z.int(),
});

interface SuiteOutcome {
  readonly suite: Suite;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly minutes: number;
}

async function main(): Promise<void> {
  const suites = chosenSuites(process.argv.slice(2));
  const stop = new AbortController();
  for (const name of SIGNALS) process.on(name, () => stop.abort(name));
  for (const dir of await sweepDeadTestRuns()) console.log(`removed what ${dir} had left`);
  const dir = await openTestRun();
  try {
    const outcomes = await runSuites(suites, { dir, signal: stop.signal });
    printSummary(outcomes);
    process.exitCode = outcomes.some((outcome) => outcome.failed > 0) ? 1 : 0;
  } finally {
    await endTestRun(dir);
  }
  const ended = SIGNALS.find((name) => name === stop.signal.reason);
  if (ended !== undefined) process.exitCode = 128 + constants.signals[ended];
}

interface Place {
  readonly dir: string;
  readonly signal: AbortSignal;
}

async function runSuites(suites: readonly Suite[], place: Place): Promise<SuiteOutcome[]> {
  const outcomes: SuiteOutcome[] = [];
  for (const suite of suites) {
    console.log(`\n=== ${suite} ===`);
    const startedAtMs = Date.now();
    const counts = suite === 'check' ? await runCheck(place) : await runVitest(suite, place);
    if (place.signal.aborted) break;
    outcomes.push({ suite, ...counts, minutes: (Date.now() - startedAtMs) / 60_000 });
  }
  return outcomes;
}

function chosenSuites(names: readonly string[]): readonly Suite[] {
  const unknown = names.filter((name) => !SUITES.some((suite) => suite === name));
  if (unknown.length > 0) {
    console.error(`No such suite: ${unknown.join(', ')}. There are: ${SUITES.join(', ')}.`);
    process.exit(2);
  }
  return names.length === 0 ? SUITES : SUITES.filter((suite) => names.includes(suite));
}

type Counts = Pick<SuiteOutcome, 'passed' | 'failed' | 'skipped'>;
const NONE: Counts = { passed: 0, failed: 0, skipped: 0 };

/** Format, lint and types count as one test each. */
async function runCheck(place: Place): Promise<Counts> {
  let failed = 0;
  const scripts = ['format', 'lint', 'types'];
  for (const script of scripts) {
    const { failed: broken } = await run('npm', ['run', '--silent', script], place);
    if (broken) failed += 1;
  }
  return { passed: scripts.length - failed, failed, skipped: 0 };
}

async function runVitest(suite: Suite, place: Place): Promise<Counts> {
  const file = join(place.dir, `${suite}.json`);
  const report = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  const { failed: broken } = await run('vitest', ['run', '--project', suite, ...report], place);
  if (place.signal.aborted) return NONE;
  const result = VitestResult.parse(JSON.parse(await readFile(file, 'utf8')));
  const failed = Math.max(
    result.numFailedTests,
    result.numFailedTestSuites > 0 ? 1 : 0,
    Number(broken),
  );
  return { passed: result.numPassedTests, failed, skipped: result.numPendingTests };
}

function run(command: string, args: readonly string[], { dir, signal }: Place) {
  return execa(command, args, {
    stdio: 'inherit',
    preferLocal: true,
    reject: false,
    env: testRunEnvironment(dir),
    cancelSignal: signal,
    timeout: SUITE_LIMIT_MS,
    forceKillAfterDelay: 10_000,
  });
}

function printSummary(outcomes: readonly SuiteOutcome[]): void {
  console.log('\nsuite          passed  failed  skipped  minutes');
  for (const { suite, passed, failed, skipped, minutes } of outcomes) {
    const columns = [
      suite.padEnd(13),
      String(passed).padStart(7),
      String(failed).padStart(7),
      String(skipped).padStart(8),
      minutes.toFixed(1).padStart(8),
    ];
    console.log(columns.join(' '));
  }
  const sum = (key: keyof Counts) => outcomes.reduce((total, outcome) => total + outcome[key], 0);
  console.log(`\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
}

await main();
