/**
 * `npm run bench`: measures and prints. Every figure comes from this run; nothing here passes or
 * fails a build, since absolute times depend on the machine and on what else it is doing.
 */
import { writeFile } from 'node:fs/promises';
import { Command, InvalidArgumentError } from 'commander';
import type { Bench, BenchContext, BenchResult } from './bench.ts';
import { chunksBench } from './chunks.ts';
import { economicsBench } from './economics.ts';
import { intakeBench } from './intake.ts';
import { latencyBench } from './latency.ts';
import { migrationBench } from './migration.ts';
import { networkBench } from './network.ts';
import { peerBench } from './peer.ts';
import { plannerBench } from './planner.ts';
import { formatCircumstances, formatResult, readCircumstances } from './report.ts';
import { startBench } from './start.ts';
import { streamBench } from './stream.ts';
import { throughputBench } from './throughput.ts';

const BENCHES: readonly Bench[] = [
  plannerBench,
  throughputBench,
  intakeBench,
  startBench,
  latencyBench,
  chunksBench,
  streamBench,
  peerBench,
  migrationBench,
  networkBench,
  economicsBench,
];
const DEFAULT_MOVES = 50;
const MAX_MOVES = 10_000;

const program = new Command('npm run bench --')
  .description('Measures Architect on this machine. Without a name: every bench, one by one.')
  .argument('[names...]', `which: ${BENCHES.map(({ name }) => name).join(', ')}`)
  .option('--json <file>', 'write every figure to this file, too')
  .option(
    '--moves <count>',
    'of migration blackout, checkpoint and notice: fewer are quicker',
    parseMoves,
    DEFAULT_MOVES,
  )
  .option('--data <folder>', 'of economics: spot availability histories, see economics/traces.ts')
  .addHelpText('after', describeBenches())
  .action((names: readonly string[], options: Options) => main(names, options));
await program.parseAsync();

interface Options {
  readonly json?: string;
  readonly moves: number;
  readonly data?: string;
}

async function main(names: readonly string[], { json, moves, data }: Options): Promise<void> {
  const chosen = BENCHES.filter(({ name }) => names.length === 0 || names.includes(name));
  const rows = chosen.flatMap((bench) => bench.rows ?? []).filter((row) => names.includes(row));
  const known = [...BENCHES.map(({ name }) => name), ...rows];
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    program.error(`There is no bench ${unknown.join(', ')}. There are:\n${listBenches()}`);
  }
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => stop.abort(new Error('Stopped.')));
  }
  const circumstances = readCircumstances();
  say(formatCircumstances(circumstances));
  const results = await runAll(chosen, { signal: stop.signal, progress, rows, moves, data });
  if (json === undefined) return;
  const figures = results.map(([name, { targets, figures: own }]) => [name, { ...own, targets }]);
  const all = { ...circumstances, benches: Object.fromEntries(figures) };
  await writeFile(json, `${JSON.stringify(all, null, 2)}\n`);
}

/** One that fails is reported and does not keep the others from running. */
async function runAll(
  benches: readonly Bench[],
  context: BenchContext,
): Promise<readonly (readonly [string, BenchResult])[]> {
  const results: (readonly [string, BenchResult])[] = [];
  for (const bench of benches) {
    if (context.signal.aborted) break;
    try {
      const result = await bench.run(context);
      results.push([bench.name, result]);
      say(`\n${formatResult(bench, result)}`);
    } catch (error) {
      process.exitCode = 1;
      const why = error instanceof Error ? error.stack : String(error);
      const stopped = 'stopped; everything of it was removed';
      process.stderr.write(
        `\n${bench.name} ended early: ${context.signal.aborted ? stopped : why}\n`,
      );
    }
  }
  return results;
}

function listBenches(): string {
  return BENCHES.map(({ name, about, rows = [] }) => {
    const alone = rows.length === 0 ? '' : `\n${' '.repeat(14)}alone: ${rows.join(', ')}`;
    return `  ${name.padEnd(12)}${about}${alone}`;
  }).join('\n');
}

function describeBenches(): string {
  return `
Benches:
${listBenches()}

Examples:
  npm run bench
  npm run bench -- planner throughput
  npm run bench -- start --json start.json
  npm run bench -- migration blackout --moves 10
  npm run bench -- economics --data ../spot-traces`;
}

function parseMoves(text: string): number {
  const moves = Number(text);
  if (Number.isSafeInteger(moves) && moves >= 1 && moves <= MAX_MOVES) return moves;
  throw new InvalidArgumentError(`It is a number from 1 to ${MAX_MOVES}.`);
}

function progress(what: string): void {
  process.stderr.write(`  … ${what}\n`);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
